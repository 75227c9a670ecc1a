/** The words of an API for a database that knows fewer letters. */
import { expect, test } from "vitest";
import { withAsciiWords } from "../../src/customer-api/ascii-words.ts";
import { createCustomerApi } from "../../src/customer-api/client.ts";
import type { Obstacle } from "../../src/obstacle.ts";

test("an obstacle is said in letters that every database can store", async () => {
  const obstacle: Obstacle = {
    by: "circuit_open",
    reason: "create answered 503: Łódź indisponível 日本",
    sinceMs: 0,
    untilMs: 1,
  };
  const client = createCustomerApi({
    timeoutMs: 1,
    userAgent: "test",
    observe: { apiRequest: () => {}, circuit: () => {} },
    backoff: { backoffMinMs: 1, backoffMaxMs: 1 },
  });
  const api = withAsciiWords({
    ...client,
    findObstacle: () => obstacle,
    findCommonObstacle: () => obstacle,
  });

  const reason = "create answered 503: ?odz indisponivel ??";
  expect([api.findObstacle(null), api.findCommonObstacle()]).toEqual([
    { ...obstacle, reason },
    { ...obstacle, reason },
  ]);
  await client.close();
});
