/** What `status <id>` says to do, in every state an account can be in: never a command that cannot work there. */
import { expect, test } from "vitest";
import { type AccountFacts, adviseOn, type ParentFacts } from "../../src/cli/account-advice.ts";
import type { AccountState } from "../../src/console/api.ts";
import { type KnownObstacle, STOPPED_BY } from "../../src/obstacle.ts";
import type { Sending } from "../../src/queue/sending.ts";
import { ERROR_CLASSES } from "../../src/sync/outcome.ts";

const SENDS: Sending = {
  at: "2026-11-01T10:00:00+00:00",
  daemons: 1,
  daemonsStopped: 0,
  obstacle: null,
};
const NO_DAEMON: Sending = stoppedBy("no_daemon");

const START = "account-sync start";
const SYNC = "account-sync sync 7";
const RETRY = "account-sync retry 7";
const PREVIEW = "account-sync preview 7";

type Row = readonly [
  name: string,
  facts: Partial<AccountFacts>,
  whileSending: readonly string[],
  withoutDaemon: readonly string[],
];

const parked = ERROR_CLASSES.map((errorClass): Row => {
  const own = errorClass === "validation" ? [PREVIEW, RETRY] : [RETRY];
  return [`parked, ${errorClass}`, { state: "parked", errorClass }, own, [...own, START]];
});

const TABLE: readonly Row[] = [
  ["unknown, in m_account", { state: null, wasSynced: false }, [SYNC], [SYNC]],
  ["unknown, and in no table", { state: null, isThere: false }, [], []],
  ["unknown, captured", { state: null, hasChanges: true }, [], [START, SYNC]],
  ["clean", { state: "clean" }, [], []],
  ["clean, captured", { state: "clean", hasChanges: true }, [], [START, SYNC]],
  ["clean, never sent", { state: "clean", wasSynced: false }, [SYNC], [SYNC]],
  ["clean, gone", { state: "clean", isThere: false, wasSynced: false }, [], []],
  ["waiting", { state: "waiting" }, [], [START, SYNC]],
  ["due", { state: "due" }, [], [START, SYNC]],
  ["running", { state: "running" }, [], [START, SYNC]],
  ...ERROR_CLASSES.map(
    (errorClass): Row => [
      `retrying, ${errorClass}`,
      { state: "retrying", errorClass },
      [],
      [START, SYNC],
    ],
  ),
  ...parked,
  ...(["create", "update"] as const).flatMap((undecided): Row[] => [
    [
      `parked, ${undecided} undecided`,
      { state: "parked", errorClass: "unknown_outcome", undecided },
      [RETRY],
      [RETRY, START],
    ],
    [
      `retrying, ${undecided} undecided`,
      { state: "retrying", errorClass: "server", undecided },
      [],
      [START, SYNC],
    ],
  ]),
  [
    "parked, and its error says what to do",
    { state: "parked", errorClass: "rejected", error: "answered 404: `account-sync forget 7`" },
    [RETRY],
    [RETRY, START],
  ],
  [
    "parked, gone",
    { state: "parked", errorClass: "validation", isThere: false },
    [RETRY],
    [RETRY, START],
  ],
  ["blocked by a cycle", blocked({ state: "blocked" }, "validation"), [], []],
  ["blocked, the parent has its id", blocked({ hasExternalId: true }), [], [START, SYNC]],
  ["blocked, the parent is in no table", blocked({ isThere: false, state: null }), [], []],
  [
    "blocked, the parent is unknown",
    blocked({ state: null }),
    ["account-sync sync 1"],
    ["account-sync sync 1"],
  ],
  [
    "blocked, the parent is clean",
    blocked({ state: "clean" }),
    ["account-sync sync 1"],
    ["account-sync sync 1"],
  ],
  [
    "blocked, the parent is parked",
    blocked({ state: "parked" }),
    ["account-sync status 1"],
    ["account-sync status 1"],
  ],
  [
    "blocked, the parent is blocked",
    blocked({ state: "blocked" }),
    ["account-sync status 1"],
    ["account-sync status 1"],
  ],
  ...(["waiting", "due", "running", "retrying"] as const).map(
    (state): Row => [
      `blocked, the parent is ${state}`,
      blocked({ state }),
      [],
      [START, "account-sync sync 1"],
    ],
  ),
];

test.each(TABLE)("%s", (_name, facts, whileSending, withoutDaemon) => {
  const account: AccountFacts = { ...CLEAN, ...facts };

  expect(adviseOn(account, SENDS).commands).toEqual(whileSending);
  expect(adviseOn(account, NO_DAEMON).commands).toEqual(withoutDaemon);
  for (const sending of [SENDS, NO_DAEMON, ...STOPPED_BY.map(stoppedBy)]) {
    const { says, commands } = adviseOn(account, sending);
    expect(says).toMatch(/^[A-Z].*[.:]$/s);
    // A colon announces commands, and a full stop does not.
    expect(says.endsWith(":")).toBe(commands.length > 0);
  }
});

test.each(["no_daemon", "draining", "no_answer"] as const)(
  "%s: another daemon is needed, whatever there is to be sent",
  (by) => {
    expect(adviseOn({ ...CLEAN, state: "due" }, stoppedBy(by)).commands).toEqual([START, SYNC]);
    expect(
      adviseOn({ ...CLEAN, state: "parked", errorClass: "network" }, stoppedBy(by)).commands,
    ).toEqual([RETRY, START]);
  },
);

test.each(STOPPED_BY)("what is due is not called next while %s stops the sending", (by) => {
  for (const state of ["waiting", "due", "retrying"] as const satisfies readonly AccountState[]) {
    const { says } = adviseOn({ ...CLEAN, state }, stoppedBy(by));
    expect(says).not.toMatch(/next in line|by itself when it is due/);
    expect(says).toMatch(/^Nothing is sent|so nothing is sent by itself/);
  }
});

test.each(["parked", "retrying"] as const)(
  "a create whose outcome is not known, %s: every decision is named, and one that does not work there is not",
  (state) => {
    const facts = { ...CLEAN, state, errorClass: "unknown_outcome", undecided: "create" } as const;

    for (const sending of [SENDS, NO_DAEMON]) {
      const { says, commands } = adviseOn(facts, sending);
      expect(says).toContain("`account-sync adopt 7 <external id>`");
      expect(says).toContain("`account-sync retry 7 --discard`");
      expect(says).not.toContain("uuid_be");
      expect(/retry 7(?! --discard)/.test([says, ...commands].join())).toBe(state === "parked");
    }
  },
);

const CLEAN: AccountFacts = {
  id: "7",
  state: "clean",
  errorClass: null,
  isThere: true,
  hasChanges: false,
  wasSynced: true,
  error: null,
  undecided: null,
  parent: null,
};

function blocked(
  parent: Partial<ParentFacts>,
  errorClass: AccountFacts["errorClass"] = null,
): Partial<AccountFacts> {
  return {
    state: "blocked",
    errorClass,
    parent: { id: "1", state: "due", isThere: true, hasExternalId: false, ...parent },
  };
}

function stoppedBy(by: KnownObstacle["by"]): Sending {
  const obstacle = { by, since: null, until: null, reason: "why" };
  const daemons = by === "no_daemon" ? 0 : 1;
  return { ...SENDS, daemons, daemonsStopped: daemons, obstacle };
}
