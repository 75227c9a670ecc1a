/**
 * The matrix of answer forms and outcomes: each form is given by a real server to a create and to an update, and what comes out is
 * compared with what test/support/answer-forms.ts says. docs/reference/answers.md is written from it (`npx vitest run --project e2e answers -u`).
 */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createCustomerApi } from "../../src/customer-api/client.ts";
import type { Outcome } from "../../src/sync/outcome.ts";
import { ANSWER_GROUPS, type AnswerForm, MEANT, type MeantIds } from "../support/answer-forms.ts";
import { CONNECTION, createEngine, type Engine, type ExternalIds } from "../support/engine.ts";

interface Heard {
  readonly method: string;
  readonly key: string;
  readonly body: string;
}

let engine: Engine;
let server: http.Server;
let heard: Heard[] = [];
let form: AnswerForm;

beforeAll(async () => {
  engine = await createEngine();
  server = http.createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const isFirst = heard.length === 0;
    heard.push({
      method: request.method ?? "",
      key: String(request.headers["idempotency-key"]),
      body,
    });
    // What follows is refused, so that only what is sent next is seen.
    if (!isFirst) {
      response.writeHead(400).end();
      return;
    }
    const answer = typeof form.body === "function" ? form.body(JSON.parse(body)) : form.body;
    response
      .writeHead(form.status, { "content-type": "application/json", ...form.headers })
      .end(typeof answer === "string" ? answer : JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

beforeEach(async () => {
  await engine.reset();
  heard = [];
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

for (const { title, forms } of ANSWER_GROUPS)
  describe(title, () => {
    test.each(forms)("$name", async (played) => {
      form = played;

      const created = await play("create");
      const updated = await play("update");

      expect({ create: created.verdict, update: updated.verdict }).toEqual({
        create: played.create,
        update: played.update,
      });
      for (const { error, ids } of [created, updated]) {
        if (played.says !== undefined) expect(error).toContain(played.says);
        expect(wrongIds(ids)).toEqual([]);
      }
    });
  });

test("docs/reference/answers.md says the same", async () => {
  await expect(toMarkdown()).toMatchFileSnapshot("../../docs/reference/answers.md");
});

async function play(
  operation: "create" | "update",
): Promise<{ verdict: string; error: string | null; ids: ExternalIds }> {
  await engine.reset();
  heard = [];
  const { id, tiers, pics } = await engine.insertAccount({ tiers: 2, pics: 2 });
  if (operation === "update") await giveIds(meantIds(), id, tiers[0] ?? "", pics[0] ?? "");

  const outcome = await round();
  const { state, error } = await engine.row(id);
  const ids = await engine.ids(id);
  await engine.query("update account_sync.account set due_at = now() where due_at is not null");
  await round();

  const parts = [
    outcome.errorClass === null ? outcome.name : `${outcome.name} (${outcome.errorClass})`,
    figures(outcome.updated),
    figures(sumOf(outcome)),
    standing(ids),
    next(operation, state, outcome),
  ];
  return { verdict: parts.join(" | "), error: error ?? outcome.error, ids };
}

/** A client of its own, as after a restart: the circuit and the waits of before are gone. */
async function round(): Promise<Outcome> {
  const api = createCustomerApi({
    timeoutMs: 5_000,
    userAgent: "account-sync/test",
    observe: { apiRequest() {}, circuit() {} },
    backoff: { backoffMinMs: 1, backoffMaxMs: 1 },
  });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const outcomes = Object.values(
      await engine.round(api, {
        overrides: { connections: { of: async () => ({ ...CONNECTION, baseUrl }) } },
      }),
    );
    return outcomes[0] ?? NOTHING_WAS_DUE;
  } finally {
    await api.close();
  }
}

const NOTHING_WAS_DUE = { name: "unchanged" } as Outcome;

const meantIds = (): MeantIds => form.meant ?? MEANT;

async function giveIds(meant: MeantIds, account: string, tier: string, pic: string): Promise<void> {
  await engine.query("update m_account set uuid_be = $2, branch_uuid_be = $3 where id = $1", [
    account,
    meant.account,
    meant.branch,
  ]);
  await engine.query("update m_account_package_tier set uuid_be = $2 where id = $1", [
    tier,
    meant.tiers[0],
  ]);
  await engine.query("update m_account_pic set uuid_be = $2 where id = $1", [pic, meant.pics[0]]);
}

function figures({ account, tier, pic }: Outcome["updated"]): string {
  return `${account} ${tier} ${pic}`;
}

function sumOf({ failed }: Outcome): Outcome["updated"] {
  const sum = (entity: string) =>
    failed.filter((row) => row.entity === entity).reduce((total, row) => total + row.count, 0);
  return { account: sum("account"), tier: sum("tier"), pic: sum("pic") };
}

function standing(ids: ExternalIds): string {
  const count = (list: readonly (string | null)[]) => list.filter((id) => id !== null).length;
  const parts = [
    ...(ids.account === null ? [] : ["account"]),
    ...(ids.branch === null ? [] : ["branch"]),
    ...(count(ids.tiers) === 0
      ? []
      : [`${count(ids.tiers)} tier${count(ids.tiers) > 1 ? "s" : ""}`]),
    ...(count(ids.pics) === 0 ? [] : [`${count(ids.pics)} crew`]),
  ];
  const isBranchsOwn = ids.branch !== null && ids.branch === ids.account;
  if (isBranchsOwn) return `${parts.join(", ")}; the branch's is the account's`;
  if (parts.length === 0) return "none";
  return parts.join(", ") === "account, branch, 2 tiers, 2 crew" ? "all" : parts.join(", ");
}

function next(operation: string, state: string, outcome: Outcome): string {
  const [first, second] = heard;
  if (first === undefined) return "nothing was sent at all";
  if (second === undefined) {
    if (state === "clean") return "nothing";
    if (state !== "parked") return `nothing yet: ${state}`;
    return outcome.errorClass === "unknown_outcome"
      ? "nothing until a person retries"
      : "nothing until the data change";
  }
  const kind = second.method === "POST" ? "create" : "update";
  if (kind !== operation) return kind;
  if (second.key === first.key && second.body === first.body) return `the same ${kind}`;
  return outcome.name === "partial" ? kind : `a new ${kind}`;
}

/** Ids that were never given out for the row they stand on. */
function wrongIds(ids: ExternalIds): unknown[] {
  const meant = meantIds();
  const isWrong = (id: string | null, meant: string | undefined) => id !== null && id !== meant;
  return [
    ...(isWrong(ids.account, meant.account) ? [ids.account] : []),
    ...ids.tiers.filter((id, index) => isWrong(id, meant.tiers[index])),
    ...ids.pics.filter((id, index) => isWrong(id, meant.pics[index])),
  ];
}

function toMarkdown(): string {
  const sections = ANSWER_GROUPS.map(({ title, intro, forms }) =>
    [
      `## ${title}`,
      "",
      intro,
      "",
      "| answer | to | outcome | updated | failed | ids that stand | sent next |",
      "|---|---|---|---|---|---|---|",
      ...forms.flatMap(({ name, create, update }) => [
        `| ${name} | create | ${create} |`,
        `| | update | ${update} |`,
      ]),
    ].join("\n"),
  );
  return `${HEAD}\n${sections.join("\n\n")}\n`;
}

const HEAD = `# API answers

How account-sync reads each form of answer to a create and to an update of an account with two tiers and two contact persons. Before the update the
account, its branch, the first tier and the first contact person have external ids; the second tier and contact person are new. The three figures of
*updated* and *failed* count account, tiers and contact persons; \`CUSTOMER_API_UNKNOWN_OUTCOME\` is \`park\`.

This page is generated from [test/support/answer-forms.ts](../../test/support/answer-forms.ts) by [test/e2e/answers.test.ts](../../test/e2e/answers.test.ts),
which plays every row against a real server and a real database.
`;
