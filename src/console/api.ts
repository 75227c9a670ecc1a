/** The console's JSON API: the queue as the SQL views show it, the request of a sync, and the retry of parked accounts. */
import { z } from "zod";
import { type Refusal, toRefusal } from "../db/raised.ts";
import { toIdText } from "../exact-json.ts";
import type { Obstacle } from "../obstacle.ts";
import type { Route, RouteAnswer } from "../ops/http.ts";
import type { HttpProblem } from "../ops/http-problem.ts";
import type { PendingState } from "../ops/labels.ts";
import type { Health } from "../ops/observe.ts";
import type { QueueStatus } from "../ops/queue-gauges.ts";
import type { Sending } from "../queue/sending.ts";
import { toSendingJson } from "../queue/sending-words.ts";
import { ERROR_CLASSES, type ErrorClass, type OutcomeName, type Trigger } from "../sync/outcome.ts";

/** The queue as the console uses it. Every function may reject when the database is away. */
export interface ConsoleQueue {
  status(): Promise<QueueStatus>;
  /** Over all daemons. */
  sending(): Promise<Sending>;
  accounts(page: AccountsPage): Promise<{
    readonly accounts: readonly AccountStatus[];
    readonly nextCursor: string | null;
  }>;
  account(id: string): Promise<AccountDetail | null>;
  request(
    id: string,
    how: {
      readonly userId: string | null;
      readonly configId: string | null;
      readonly force: boolean;
    },
  ): Promise<void>;
  /** How many parked accounts were put back. */
  retry(which: RetrySelection): Promise<number>;
  /** This one and the next reject with what the database refuses (src/db/raised.ts). */
  adopt(id: string, externalId: string): Promise<void>;
  /** How many ids were forgotten: all of the account, or those of the rows that are named. */
  forget(
    id: string,
    rows: { readonly tierId: string | null; readonly picId: string | null },
  ): Promise<number>;
}

export interface AccountsPage {
  /** null: every state. */
  readonly state: AccountState | null;
  /** `nextCursor` of the previous page; null for the first. */
  readonly cursor: string | null;
  readonly limit: number;
}

export type RetrySelection = (
  | { readonly ids: readonly string[] }
  | { readonly all: true }
  | { readonly errorClass: ErrorClass }
) & { /** Unfinished sends are given up as not applied. */ readonly discard?: true };

export type AccountState = PendingState | "clean";

/** A row of view `account_sync.status`. Times are ISO 8601. */
export interface AccountStatus {
  readonly account_id: string;
  readonly state: AccountState;
  readonly changed_at: string | null;
  readonly due_at: string | null;
  readonly attempts: number;
  readonly error_class: ErrorClass | null;
  readonly error: string | null;
  readonly last_synced_at: string | null;
  /** What is going on, and what to do. */
  readonly explanation: string;
}

export interface AccountDetail extends AccountStatus {
  /** Newest first. */
  readonly history: readonly HistoryRow[];
}

/** A row of view `account_sync.history`. */
export interface HistoryRow {
  readonly account_id: string;
  readonly started_at: string;
  readonly finished_at: string | null;
  readonly trigger: Trigger;
  readonly outcome: OutcomeName | null;
  readonly http_status: number | null;
  readonly error_class: ErrorClass | null;
  readonly error: string | null;
  readonly updated: unknown;
  readonly failed: unknown;
  /** The number of warnings about the command. */
  readonly warnings: number;
}

/** The state of this process. */
export interface ConsoleProcess {
  readonly version: string;
  readonly readiness: () => readonly string[];
  readonly health: () => Health;
  /** What stops it from sending; null for nothing. */
  readonly obstacle: () => Pick<Obstacle, "by"> | null;
}

const accountStates = [
  "clean",
  "waiting",
  "due",
  "running",
  "retrying",
  "parked",
  "blocked",
] as const satisfies readonly AccountState[];

/** Text that PostgreSQL can store: it accepts no zero byte. */
const text = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((value) => !value.includes("\0"), "must not contain a zero byte");

/** An id may be a number, where keys are numbers. */
const idText = (max: number) => z.preprocess((value) => toIdText(value) ?? value, text(max));

const accountId = idText(255);

const accountsQuery = z.strictObject({
  state: z.enum(accountStates).optional(),
  cursor: text(500).optional(),
  limit: z.coerce.number().int().min(1).max(500).default(100),
});

const syncBody = z.strictObject({
  // updated_by is varchar(50) in every source table.
  user_id: text(50).nullish(),
  config_id: idText(100).nullish(),
  force: z.boolean().default(true),
});

const retryBody = z
  .strictObject({
    ids: z.array(accountId).min(1).max(1_000).optional(),
    all: z.literal(true).optional(),
    class: z.enum(ERROR_CLASSES).optional(),
    discard: z.boolean().default(false),
  })
  .refine(
    ({ ids, all, class: errorClass }) =>
      [ids, all, errorClass].filter((value) => value !== undefined).length === 1,
    "needs exactly one of ids, all, class",
  );

const adoptBody = z.strictObject({ external_id: text(255) });

const forgetBody = z.strictObject({ tier_id: accountId.nullish(), pic_id: accountId.nullish() });

export function apiRoutes({
  queue,
  process,
  onError,
}: {
  readonly queue: ConsoleQueue;
  readonly process: ConsoleProcess;
  /** An error of the database; the caller is told only that it did not answer. */
  readonly onError: (error: unknown) => void;
}): readonly Route[] {
  return [
    {
      method: "GET",
      path: "/api/status",
      async handle() {
        // Most useful while the database is away, so its numbers may be missing.
        const [status, sending] = await Promise.all([queue.status(), queue.sending()]).catch(
          (error: unknown) => {
            onError(error);
            return [null, null];
          },
        );
        const reasons = process.readiness();

        return json(200, {
          version: process.version,
          ready: reasons.length === 0,
          reasons,
          ...process.health(),
          pending_accounts: status?.byState ?? null,
          oldest_pending_seconds: status?.oldestPendingSeconds ?? null,
          sending: sending === null ? null : toSendingJson(sending),
        });
      },
    },

    {
      method: "GET",
      path: "/api/accounts",
      handle({ query }) {
        return withInput(accountsQuery, query, async ({ state = null, cursor = null, limit }) => {
          const page = await queue.accounts({ state, cursor, limit });
          return json(200, { accounts: page.accounts, next_cursor: page.nextCursor });
        });
      },
    },

    {
      method: "GET",
      path: "/api/accounts/:id",
      handle({ parameters }) {
        return withInput(accountId, parameters["id"], async (id) => {
          const account = await queue.account(id);
          return account === null ? unknownAccount() : json(200, account);
        });
      },
    },

    {
      method: "POST",
      path: "/api/accounts/:id/sync",
      handle({ parameters, body }) {
        return withInput(accountId, parameters["id"], (id) =>
          withInput(syncBody, body, async ({ user_id, config_id, force }) => {
            await queue.request(id, {
              userId: user_id ?? null,
              configId: config_id ?? null,
              force,
            });
            return json(202, {
              account_id: id,
              status_url: toStatusUrl(id),
            });
          }),
        );
      },
    },

    {
      method: "POST",
      path: "/api/accounts/retry",
      handle({ body }) {
        return withInput(retryBody, body, async (selection) => {
          const retried = await queue.retry(toSelection(selection));
          return json(200, { retried });
        });
      },
    },

    {
      method: "POST",
      path: "/api/accounts/:id/adopt",
      handle({ parameters, body }) {
        return withInput(accountId, parameters["id"], (id) =>
          withInput(adoptBody, body, async ({ external_id }) => {
            await queue.adopt(id, external_id);
            return json(200, { account_id: id, external_id, status_url: toStatusUrl(id) });
          }),
        );
      },
    },

    {
      method: "POST",
      path: "/api/accounts/:id/forget",
      handle({ parameters, body }) {
        return withInput(accountId, parameters["id"], (id) =>
          withInput(forgetBody, body, async ({ tier_id = null, pic_id = null }) => {
            const forgotten = await queue.forget(id, { tierId: tier_id, picId: pic_id });
            return json(200, { account_id: id, forgotten, status_url: toStatusUrl(id) });
          }),
        );
      },
    },
  ];

  /** Parses the input and runs; an error of the queue that is no refusal becomes a 503, as the queue only uses the database. */
  async function withInput<Input>(
    schema: z.ZodType<Input>,
    input: unknown,
    run: (parsed: Input) => Promise<RouteAnswer>,
  ): Promise<RouteAnswer> {
    const parsed = schema.safeParse(input);
    if (!parsed.success) return { problem: toInputProblem(parsed.error) };

    try {
      return await run(parsed.data);
    } catch (error) {
      const refusal = toRefusal(error);
      if (refusal !== null) return { problem: toProblem(refusal) };
      onError(error);
      return {
        problem: {
          status: 503,
          title: "Service Unavailable",
          detail: "The database did not answer; nothing is known to have changed. Try again.",
        },
      };
    }
  }
}

function json(status: number, value: unknown): RouteAnswer {
  return { status, json: value };
}

function toStatusUrl(id: string): string {
  return `/api/accounts/${encodeURIComponent(id)}`;
}

function toSelection(body: z.output<typeof retryBody>): RetrySelection {
  const how = body.discard ? { discard: true as const } : {};
  if (body.ids !== undefined) return { ids: body.ids, ...how };
  if (body.class !== undefined) return { errorClass: body.class, ...how };
  return { all: true, ...how };
}

const PROBLEMS = {
  not_found: { status: 404, title: "Not Found" },
  not_valid: { status: 400, title: "Bad Request" },
  conflict: { status: 409, title: "Conflict" },
} as const satisfies Record<Refusal["kind"], Pick<HttpProblem, "status" | "title">>;

function toProblem({ kind, problem, remedy }: Refusal): HttpProblem {
  return { ...PROBLEMS[kind], detail: `${problem} ${remedy}`.trim() };
}

function unknownAccount(): RouteAnswer {
  return {
    problem: {
      status: 404,
      title: "Not Found",
      detail: "The queue knows no such account: it never changed since the first migrate.",
    },
  };
}

/** zod's messages name fields and rules, never the value. */
function toInputProblem(error: z.ZodError): HttpProblem {
  const errors = error.issues.slice(0, 20).map(({ path, message }) => ({
    field: path.join("."),
    message,
  }));
  return {
    status: 400,
    title: "Bad Request",
    detail: errors
      .map(({ field, message }) => (field === "" ? message : `${field}: ${message}`))
      .join("; "),
    extra: { errors },
  };
}
