/**
 * Converts the API's messages to ASCII, for a database whose encoding is not UTF-8: one character that it cannot store would fail the
 * write of the whole answer, including its ids, or of an obstacle. Ids are not changed.
 */
import type { Obstacle } from "../obstacle.ts";
import type { AnswerSection } from "./answer.ts";
import type { CustomerApiClient } from "./client.ts";
import type { ApiResult, LookupResult } from "./customer-api.ts";

export function withAsciiWords(api: CustomerApiClient): CustomerApiClient {
  return {
    ...api,
    send: async (connection, request) => withAscii(await api.send(connection, request)),
    lookUp: async (connection, request) => withAscii(await api.lookUp(connection, request)),
    findObstacle: (configId) => obstacleWithAscii(api.findObstacle(configId)),
    findCommonObstacle: () => obstacleWithAscii(api.findCommonObstacle()),
  };
}

function obstacleWithAscii(obstacle: Obstacle | null): Obstacle | null {
  return obstacle === null ? null : { ...obstacle, reason: toAscii(obstacle.reason) };
}

function withAscii<Result extends ApiResult | LookupResult>(result: Result): Result {
  if (result.kind === "failed") {
    return { ...result, failure: { ...result.failure, message: toAscii(result.failure.message) } };
  }
  if (result.kind === "answered") return result;
  const { answer } = result;
  return {
    ...result,
    answer: {
      refusal: answer.refusal === null ? null : toAscii(answer.refusal),
      customer: sectionWithAscii(answer.customer),
      branch: sectionWithAscii(answer.branch),
      tier: sectionWithAscii(answer.tier),
      crew: sectionWithAscii(answer.crew),
    },
  };
}

function sectionWithAscii(section: AnswerSection): AnswerSection {
  return { ...section, errors: section.errors.map(toAscii) };
}

/** Letters lose their marks; every other character that is not ASCII becomes a question mark. */
function toAscii(text: string): string {
  return text
    .normalize("NFKD")
    .replaceAll(/\p{M}/gu, "")
    .replaceAll(/[^\p{ASCII}]/gu, "?");
}
