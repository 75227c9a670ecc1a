/** Who sends, and what stops it, as a table: from what the daemons wrote down to the words. */
import { describe, expect, test } from "vitest";
import { STOPPED_BY } from "../../src/obstacle.ts";
import { type SendingRow, toSending } from "../../src/queue/sending.ts";
import { describeSending, meaningOf, toSendingJson } from "../../src/queue/sending-words.ts";

const AT = "2026-11-01T10:12:30.000+07:00";

/** One daemon that lives and sends. */
const SENDS: SendingRow = {
  at: AT,
  isReadOnly: false,
  heldUntil: null,
  replicaId: 1,
  silentSince: null,
  stoppedBy: null,
  since: null,
  until: null,
  reason: null,
};
const NONE: SendingRow = { ...SENDS, replicaId: null };
const OPEN: SendingRow = {
  ...SENDS,
  stoppedBy: "circuit_open",
  since: "2026-11-01T10:10:00.000+07:00",
  until: "2026-11-01T10:15:00.000+07:00",
  reason: "create answered 503",
};
const REFUSED: SendingRow = { ...OPEN, stoppedBy: "unauthorized", reason: "create answered 401" };
const WAITS: SendingRow = { ...OPEN, stoppedBy: "retry_after", reason: "asked to wait" };
const LEAVES: SendingRow = { ...OPEN, stoppedBy: "draining", until: null, reason: "told to leave" };
const SILENT: SendingRow = { ...SENDS, silentSince: "2026-11-01T10:11:00.000+07:00" };
const HELD = { heldUntil: "2026-11-02T00:00:05.000+07:00" };

const TABLE: readonly {
  readonly name: string;
  readonly rows: readonly SendingRow[];
  readonly stoppedBy: string | null;
  readonly line: string;
  readonly due: string;
}[] = [
  {
    name: "no daemon",
    rows: [NONE],
    stoppedBy: "no_daemon",
    line: "Nothing is sent: no daemon runs.",
    due: "not sent, as no daemon runs",
  },
  {
    name: "no daemon, and a wait that would be over by the time one runs",
    rows: [{ ...NONE, ...HELD }],
    stoppedBy: "no_daemon",
    line: "Nothing is sent: no daemon runs.",
    due: "not sent, as no daemon runs",
  },
  {
    name: "one daemon",
    rows: [SENDS],
    stoppedBy: null,
    line: "1 daemon runs.",
    due: "next in line",
  },
  {
    name: "two daemons",
    rows: [SENDS, { ...SENDS, replicaId: 2 }],
    stoppedBy: null,
    line: "2 daemons run.",
    due: "next in line",
  },
  {
    name: "an open circuit",
    rows: [OPEN],
    stoppedBy: "circuit_open",
    line: "Nothing is sent: the API does not answer as it should since 10:10:00 (create answered 503); tried again at 10:15:00.",
    due: "not sent, as the API does not answer as it should",
  },
  {
    name: "an open circuit that is being probed",
    rows: [{ ...OPEN, until: "2026-11-01T10:12:29.000+07:00" }],
    stoppedBy: "circuit_open",
    line: "Nothing is sent: the API does not answer as it should since 10:10:00 (create answered 503); being tried again.",
    due: "not sent, as the API does not answer as it should",
  },
  {
    name: "one of two circuits",
    rows: [OPEN, { ...SENDS, replicaId: 2 }],
    stoppedBy: null,
    line: "2 daemons run; 1 of them sends nothing: the API does not answer as it should since 10:10:00 (create answered 503); tried again at 10:15:00.",
    due: "next in line",
  },
  {
    name: "two daemons that are stopped by different things: what waits for a person comes first",
    rows: [OPEN, { ...REFUSED, replicaId: 2 }],
    stoppedBy: "unauthorized",
    line: "Nothing is sent: the API refuses our credentials since 10:10:00 (create answered 401); tried again at 10:15:00.",
    due: "not sent, as the API refuses our credentials",
  },
  {
    name: "a wait that only the database knows of",
    rows: [{ ...SENDS, ...HELD }],
    stoppedBy: "retry_after",
    line: "Nothing is sent: the API asked to wait until 2026-11-02 00:00:05.",
    due: "not sent, as the API asked to wait",
  },
  {
    name: "a wait that one of two daemons has been told",
    rows: [
      { ...WAITS, ...HELD },
      { ...SENDS, ...HELD, replicaId: 2 },
    ],
    stoppedBy: "retry_after",
    line: "Nothing is sent: the API asked to wait until 2026-11-02 00:00:05.",
    due: "not sent, as the API asked to wait",
  },
  {
    name: "a wait, and credentials that are refused",
    rows: [{ ...REFUSED, ...HELD }],
    stoppedBy: "unauthorized",
    line: "Nothing is sent: the API refuses our credentials since 10:10:00 (create answered 401); tried again at 10:15:00.",
    due: "not sent, as the API refuses our credentials",
  },
  {
    name: "a configuration that cannot be used",
    rows: [{ ...OPEN, stoppedBy: "configuration", until: null, reason: "it has no base_url" }],
    stoppedBy: "configuration",
    line: "Nothing is sent: the API's configuration cannot be used since 10:10:00 (it has no base_url); being tried again.",
    due: "not sent, as the API's configuration cannot be used",
  },
  {
    name: "a queue in trouble",
    rows: [
      {
        ...OPEN,
        stoppedBy: "queue_trouble",
        until: null,
        reason: "the queue cannot be worked on (53100)",
      },
    ],
    stoppedBy: "queue_trouble",
    line: "Nothing is sent: the queue cannot be worked on (53100) since 10:10:00.",
    due: "not sent, as the queue cannot be worked on",
  },
  {
    name: "a daemon that leaves, alone",
    rows: [LEAVES],
    stoppedBy: "draining",
    line: "Nothing is sent: the daemon is leaving since 10:10:00, and takes nothing more.",
    due: "not sent, as the daemon is leaving",
  },
  {
    name: "a daemon that leaves, beside one that sends",
    rows: [LEAVES, { ...SENDS, replicaId: 2 }],
    stoppedBy: null,
    line: "2 daemons run; 1 of them sends nothing: leaving since 10:10:00.",
    due: "next in line",
  },
  {
    name: "a daemon that leaves, beside one that the API fails: that one will go on",
    rows: [LEAVES, { ...OPEN, replicaId: 2 }],
    stoppedBy: "circuit_open",
    line: "Nothing is sent: the API does not answer as it should since 10:10:00 (create answered 503); tried again at 10:15:00.",
    due: "not sent, as the API does not answer as it should",
  },
  {
    name: "a daemon that holds its lock and writes nothing, whatever it wrote before",
    rows: [{ ...REFUSED, silentSince: "2026-11-01T10:11:00.000+07:00" }],
    stoppedBy: "no_answer",
    line: "Nothing is sent: the daemon does not answer (stopped or hanging) since 10:11:00.",
    due: "not sent, as the daemon does not answer (stopped or hanging)",
  },
  {
    name: "one of two that does not answer",
    rows: [SILENT, { ...SENDS, replicaId: 2 }],
    stoppedBy: null,
    line: "2 daemons run; 1 of them sends nothing: no answer since 10:11:00 (stopped or hanging).",
    due: "next in line",
  },
  {
    name: "a database that takes no writes, which keeps a daemon from writing that it is there, too",
    rows: [{ ...SILENT, isReadOnly: true }],
    stoppedBy: "queue_trouble",
    line: "Nothing is sent: the database takes no writes (transaction_read_only is on).",
    due: "not sent, as the queue cannot be worked on",
  },
  {
    name: "a database that takes no writes, and no daemon: one could not send either",
    rows: [{ ...NONE, isReadOnly: true }],
    stoppedBy: "queue_trouble",
    line: "Nothing is sent: the database takes no writes (transaction_read_only is on).",
    due: "not sent, as the queue cannot be worked on",
  },
];

test.each(TABLE)("$name", ({ rows, stoppedBy, line, due }) => {
  const sending = toSending(rows);

  expect(describeSending(sending).line).toBe(line);
  expect(toSendingJson(sending)).toMatchObject({ stopped_by: stoppedBy });
  expect(meaningOf("due", sending)).toBe(due);
});

describe("what stops sending", () => {
  test.each(STOPPED_BY)("%s has words for every state, and says nothing is next", (by) => {
    const sending = toSending([{ ...OPEN, stoppedBy: by }]);

    for (const state of ["waiting", "due", "running", "retrying", "parked", "blocked"] as const)
      expect(meaningOf(state, sending)).not.toMatch(/next in line|by itself|undefined|: /);
  });

  test.each(STOPPED_BY)("%s: the head and the table agree on whether it is tried again", (by) => {
    const sending = toSending([{ ...OPEN, stoppedBy: by }]);
    const head = describeSending(sending).line;

    if (head.includes("tried again"))
      expect(meaningOf("retrying", sending)).not.toContain("not tried again");
  });

  test("a daemon that leaves while another sends needs nothing to be done", () => {
    expect(describeSending(toSending([LEAVES, { ...SENDS, replicaId: 2 }])).remedy).toBeNull();
    expect(describeSending(toSending([LEAVES])).remedy).toContain("account-sync start");
  });
});
