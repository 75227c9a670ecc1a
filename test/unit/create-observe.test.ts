/** One event is one log line and its metrics; an outage is not one line per account per try. */
import { beforeEach, describe, expect, test } from "vitest";
import { createObserve } from "../../src/ops/create-observe.ts";
import type { LogFields } from "../../src/ops/log-fields.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import type { Run } from "../../src/ops/observe.ts";

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

const lines: Line[] = [];
let time = 0;

beforeEach(() => {
  lines.length = 0;
  time = 0;
});

describe("a run", () => {
  test("is one line with everything an operator asks for", () => {
    const { observe } = createParts();

    observe.ran(
      run({
        outcome: "parked",
        attempt: 3,
        lagMs: 1_500.4,
        durationMs: 20.6,
        httpStatus: 422,
        errorClass: "rejected",
        error: "the API refused tier[0].fee",
      }),
    );

    expect(lines).toEqual([
      {
        level: "error",
        message: "account parked",
        fields: {
          account_id: "1",
          outcome: "parked",
          trigger: "change",
          attempt: 3,
          lag_ms: 1_500,
          duration_ms: 21,
          http_status: 422,
          error_class: "rejected",
          error: "the API refused tier[0].fee",
        },
      },
    ]);
  });

  test.each([
    ["synced", "info"],
    ["unchanged", "info"],
    ["gone", "info"],
    ["partial", "warn"],
    ["retry", "warn"],
    ["blocked", "warn"],
    ["parked", "error"],
  ] as const)("that ended %s is said at level %s", (outcome, level) => {
    const { observe } = createParts();

    observe.ran(run({ outcome }));

    expect(lines.map((line) => line.level)).toEqual([level]);
  });

  test.each(["blocked", "partial"] as const)(
    "that ended %s in normal operation is no warning",
    (outcome) => {
      const { observe } = createParts();

      observe.ran(run({ outcome, isExpected: true }));

      expect(lines.map((line) => line.level)).toEqual(["info"]);
    },
  );

  test("counts rows, runs, duration and lag", async () => {
    const { observe, read } = createParts();

    observe.ran(run({ lagMs: 3_000, durationMs: 40, updated: { account: 1, tier: 2, pic: 0 } }));
    observe.ran(
      run({
        outcome: "partial",
        trigger: "manual",
        failed: [{ entity: "pic", reason: "incomplete", count: 2 }],
      }),
    );

    expect(await read("runs_total", { outcome: "synced", trigger: "change" })).toBe(1);
    expect(await read("runs_total", { outcome: "partial", trigger: "manual" })).toBe(1);
    expect(await read("updated_total", { entity: "account" })).toBe(1);
    expect(await read("updated_total", { entity: "tier" })).toBe(2);
    expect(await read("failed_total", { entity: "pic", reason: "incomplete" })).toBe(2);
    expect(await read("run_duration_seconds_count")).toBe(2);
    expect(await read("lag_seconds_count")).toBe(1);
    expect(await read("lag_seconds_sum")).toBe(3);
  });

  test("with a clock that was set back does not throw", async () => {
    const { observe, read } = createParts();

    observe.ran(run({ lagMs: -5_000, durationMs: Number.NaN }));

    expect(await read("lag_seconds_sum")).toBe(0);
    expect(await read("run_duration_seconds_sum")).toBe(0);
  });
});

describe("a check", () => {
  const finding = { problem: "the trigger is disabled", remedy: "enable it" };

  test("that finds something says so once, and once when it is gone", () => {
    const { observe } = createParts();

    for (let look = 0; look < 3; look += 1) observe.checked("triggers", [finding]);
    for (let look = 0; look < 3; look += 1) observe.checked("triggers", []);

    expect(lines).toEqual([
      {
        level: "error",
        message: "check triggers: the trigger is disabled",
        fields: { check: "triggers", remedy: "enable it" },
      },
      {
        level: "info",
        message: "check triggers, no longer: the trigger is disabled",
        fields: { check: "triggers" },
      },
    ]);
  });

  test("says what is new beside what it has said", () => {
    const { observe } = createParts();

    observe.checked("triggers", [finding]);
    observe.checked("triggers", [finding, { problem: "another one, too", remedy: "enable it" }]);

    expect(lines.map(({ message }) => message)).toEqual([
      "check triggers: the trigger is disabled",
      "check triggers: another one, too",
    ]);
  });

  test("that only warns is a warning, and stands at 0 all the same", async () => {
    const { observe, read } = createParts();

    observe.checked("clock", [finding]);

    expect(lines.map(({ level }) => level)).toEqual(["warn"]);
    expect(await read("check_ok", { check: "clock", severity: "warning" })).toBe(0);
  });
});

describe("an outage", () => {
  test("of the API is thirty warnings a minute, a sum, and everything at level debug", async () => {
    const { observe, read } = createParts();

    for (let i = 0; i < 1_000; i += 1)
      observe.ran(run({ outcome: "retry", errorClass: "network" }));
    time = 60_000;
    observe.ran(run({ outcome: "synced" }));

    expect(levels("account retry")).toEqual({ warn: 30, debug: 970 });
    expect(lines.at(-2)).toEqual({
      level: "warn",
      message: "more warnings of this kind were left out",
      fields: { kind: "retry network", lines: 970 },
    });
    expect(await read("runs_total", { outcome: "retry", trigger: "change" })).toBe(1_000);
  });

  test("of one kind does not silence another", () => {
    const { observe } = createParts();

    for (let i = 0; i < 40; i += 1) observe.ran(run({ outcome: "retry", errorClass: "network" }));
    observe.ran(run({ outcome: "partial", errorClass: "incomplete" }));

    expect(lines.at(-1)).toMatchObject({ level: "warn", message: "account partial" });
  });

  test("of the database is said once and summed up when it is over", () => {
    const { observe } = createParts();

    for (let i = 0; i < 500; i += 1) {
      observe.databaseTrouble({ doing: "claim", error: withCode("ECONNREFUSED") });
    }
    time = 30_000;
    observe.databaseBack();
    observe.databaseBack();

    expect(said()).toEqual([
      {
        level: "warn",
        message: "database trouble, trying again",
        fields: { doing: "claim", err: withCode("ECONNREFUSED"), repeated: 0 },
      },
      {
        level: "info",
        message: "the database answers again",
        fields: { failures: 500, seconds: 30 },
      },
    ]);
  });

  test("of the database that lasts for a day is said ever more rarely", () => {
    const { observe } = createParts();

    for (time = 0; time < 24 * 3_600_000; time += 1_000) {
      observe.databaseTrouble({ doing: "fold", error: withCode("57P03") });
    }

    // 1 + 1, 2, 4 and 8 minutes, then every 15: about four an hour.
    expect(said().length).toBeGreaterThan(90);
    expect(said().length).toBeLessThan(105);
  });

  test("of one row among good ones does not fill the log", () => {
    const { observe } = createParts();

    for (let i = 0; i < 100; i += 1) {
      observe.databaseTrouble({ doing: "write back", error: withCode("23514") });
      observe.databaseBack();
    }

    expect(said()).toHaveLength(2);
  });

  test("of the listener is one warning until it is up again", async () => {
    const { observe, read } = createParts();

    observe.listenerUp();
    for (let i = 0; i < 10; i += 1) observe.listenerDown("connection terminated");
    expect(await read("listener_up")).toBe(0);
    expect(observe.health().listener).toBe("down");
    observe.listenerReconnected();
    observe.listenerUp();

    expect(said().map(({ message }) => message)).toEqual([
      "listening for notifications",
      "not listening: changes wait for the sweep; reconnecting",
      "listening for notifications",
    ]);
    expect(await read("listener_up")).toBe(1);
    expect(await read("listener_reconnects_total")).toBe(1);
  });

  test("that opens the circuit is said when it opens and when it closes, not at each probe", async () => {
    const { observe, read } = createParts();

    observe.circuit("open", "10 failures");
    observe.circuit("half_open", "probing");
    observe.circuit("open", "probe failed");
    expect(await read("circuit_state", { state: "open" })).toBe(1);
    expect(await read("circuit_state", { state: "closed" })).toBe(0);
    observe.circuit("half_open", "probing");
    time = 90_000;
    observe.circuit("closed", "probe answered");

    expect(said()).toEqual([
      expect.objectContaining({ level: "warn", fields: { reason: "10 failures", state: "open" } }),
      expect.objectContaining({
        level: "info",
        fields: { reason: "probe answered", open_seconds: 90 },
      }),
    ]);
    expect(observe.health().circuit).toBe("closed");
    expect(await read("circuit_state", { state: "closed" })).toBe(1);
  });

  test("of sense among notifications is bounded", async () => {
    const { observe, read } = createParts();

    for (let i = 0; i < 100_000; i += 1) {
      observe.notificationIgnored({ reason: "not JSON", length: 7_999 });
    }

    expect(said()).toHaveLength(30);
    expect(await read("notifications_ignored_total")).toBe(100_000);
  });
});

test("what happens rarely and matters is counted and said each time", async () => {
  const { observe, read } = createParts();

  observe.unknownOutcome("1");
  observe.strayCustomer({ accountId: "1", stray: "made twice" });
  observe.idConflict({ accountId: "2", entity: "tier" });
  observe.leaseLost("3");

  expect(said().map(({ level, fields }) => [level, fields["account_id"]])).toEqual([
    ["warn", "1"],
    ["warn", "1"],
    ["warn", "2"],
    ["warn", "3"],
  ]);
  expect(await read("unknown_outcomes_total")).toBe(1);
  expect(await read("id_conflicts_total")).toBe(1);
  expect(await read("leases_lost_total")).toBe(1);
});

test("warnings of validated commands are counted by rule, and said with their fields at level debug", async () => {
  const { observe, read } = createParts();

  observe.validated({ accountId: "1", warnings: [] });
  observe.validated({
    accountId: "2",
    warnings: [
      { field: "customer.email", rule: "recommended" },
      { field: "branch.code", rule: "recommended" },
      { field: "customer.ktp", rule: "ktp_length" },
    ],
  });

  expect(await read("validation_warnings_total", { rule: "recommended" })).toBe(2);
  expect(await read("validation_warnings_total", { rule: "ktp_length" })).toBe(1);
  expect(lines).toEqual([
    {
      level: "debug",
      message: "validated, with warnings",
      fields: {
        account_id: "2",
        fields: [
          "customer.email: recommended",
          "branch.code: recommended",
          "customer.ktp: ktp_length",
        ],
      },
    },
  ]);
});

test("requests and changes are counted, and only said at level debug", async () => {
  const { observe, read } = createParts();

  observe.apiRequest({ operation: "create", result: "server_error", durationMs: 250 });
  observe.folded({ changes: 12, accounts: 3 });
  observe.listenerRoundTrip(0.004);

  expect(said()).toEqual([]);
  expect(await read("api_requests_total", { operation: "create", result: "server_error" })).toBe(1);
  expect(await read("api_request_duration_seconds_sum", { operation: "create" })).toBe(0.25);
  expect(await read("changes_total")).toBe(12);
  expect(await read("listener_roundtrip_seconds")).toBe(0.004);
});

function createParts() {
  const metrics = createMetrics({
    version: "1.2.3",
    queueStatus: () => Promise.reject(new Error("no database here")),
  });
  const to = (level: string) => (fields: LogFields, message: string) =>
    void lines.push({ level, message, fields });
  const log = {
    debug: to("debug"),
    info: to("info"),
    warn: to("warn"),
    error: to("error"),
    fatal: to("fatal"),
  };

  return {
    observe: createObserve({ log, metrics, now: () => time }),
    /** The value of a series as a scrape shows it. */
    async read(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
      const { body } = await metrics.scrape();
      const inner = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      const series = `account_sync_${name}${inner.length > 0 ? `{${inner.join(",")}}` : ""} `;
      const line = body.split("\n").find((candidate) => candidate.startsWith(series));
      return line === undefined ? Number.NaN : Number(line.slice(series.length));
    },
  };
}

function run(what: Partial<Run>): Run {
  return {
    accountId: "1",
    outcome: "synced",
    trigger: "change",
    attempt: 1,
    durationMs: 10,
    lagMs: 20,
    httpStatus: null,
    errorClass: null,
    error: null,
    updated: { account: 0, tier: 0, pic: 0 },
    failed: [],
    ...what,
  };
}

function withCode(code: string): Error {
  return Object.assign(new Error("trouble"), { code });
}

/** What an operator sees at the default level. */
function said(): readonly Line[] {
  return lines.filter(({ level }) => level !== "debug");
}

function levels(message: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const line of lines) {
    if (line.message === message) found[line.level] = (found[line.level] ?? 0) + 1;
  }
  return found;
}
