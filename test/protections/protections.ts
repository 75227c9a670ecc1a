/**
 * What protects customers' data, and which promise breaks without it. `npm run test:protections` takes each protection out of a copy
 * of the product and demands that the named tests fail there; test/unit/protections.test.ts keeps this list true to the code.
 */

export interface Protection {
  readonly name: string;
  /** In this file … */
  readonly file: string;
  /** … this text, which stands there once … */
  readonly text: string;
  /** … is replaced by this one, which works as long as nothing goes wrong. */
  readonly without: string;
  /** The test file that finds out, and a piece of a failing test's name. */
  readonly foundBy: { readonly file: string; readonly test: string };
}

export const PROTECTIONS: readonly Protection[] = [
  {
    name: "the lease: only who holds it settles",
    file: "sql/queries/queue/lock_leases.sql",
    text: " and a.lease_token = leased.lease_token",
    without: "",
    foundBy: { file: "test/db/settle.test.ts", test: "a lost lease changes nothing at all" },
  },
  {
    name: "the lease: only who holds it sends",
    file: "sql/queries/sync/journal_sends.sql",
    text: ` and a.lease_token = leased."leaseToken"`,
    without: "",
    foundBy: {
      file: "test/db/sync/journal.test.ts",
      test: "nothing is sent when the lease was lost before",
    },
  },
  {
    name: "the generation: a change during a send opens a new round",
    file: "sql/queries/queue/settle_accounts.sql",
    text: "when a.generation <= s.generation then s.disposition",
    without: "when true then s.disposition",
    foundBy: {
      file: "test/db/sync/sync-account.test.ts",
      test: "during which the account changes is followed by another one",
    },
  },
  {
    name: "the journal: an unsettled send is finished first",
    file: "sql/queries/sync/load_unsettled_attempts.sql",
    text: "where account_id = any ($1::text[]) and settled_at is null",
    without: "where account_id = any ($1::text[]) and false",
    foundBy: {
      file: "test/db/sync/create-in-doubt.test.ts",
      test: "found after a crash is told as unknown, once",
    },
  },
  {
    name: "the journal: a repeat keeps its key",
    file: "sql/queries/sync/load_unsettled_attempts.sql",
    text: `idempotency_key as "idempotencyKey"`,
    without: `gen_random_uuid() as "idempotencyKey"`,
    foundBy: {
      file: "test/db/sync/repeat.test.ts",
      test: "is sent again by itself where the API honours keys",
    },
  },
  {
    name: "the journal: ids are written down before anything is done with them",
    file: "sql/queries/sync/journal_answers.sql",
    text: "delivery = 'answered'",
    without: "delivery = 'sending'",
    foundBy: {
      file: "test/db/sync/journal.test.ts",
      test: "brings ids back after a crash, without a request",
    },
  },
  {
    name: "SKIP LOCKED: two claimers never take the same account",
    file: "sql/queries/queue/claim_accounts.sql",
    text: "limit case when $5::text[] is null then $1 else 0 end\n  for update skip locked",
    without: "limit case when $5::text[] is null then $1 else 0 end",
    foundBy: {
      file: "test/db/queue-claim.test.ts",
      test: "never gives two claimers the same account",
    },
  },
  {
    name: "SKIP LOCKED: the write-back waits for no application",
    file: "sql/queries/sync/write_tier_ids.sql",
    text: "for no key update skip locked",
    without: "for no key update",
    foundBy: {
      file: "test/db/write-back.test.ts",
      test: "gets its id a moment later, without a request, and uses up no attempt",
    },
  },
  {
    name: "the doorbell's waiting: nobody rests before every earlier writer has ended",
    file: "src/capture/doorbell.ts",
    text: "state.isLastLook = await this.#hasPassed(state.horizon);",
    without: "state.isLastLook = (await this.#hasPassed(state.horizon)) || true;",
    foundBy: {
      file: "test/db/doorbell.test.ts",
      test: "it keeps looking, ever more slowly, until the writer has ended",
    },
  },
  {
    name: "the echo guard: what we write back is no change",
    file: "sql/capture/install_capture.sql",
    text: "array['name', 'email', 'phone_no', 'no_ktp', 'no_npwp', 'account_no', 'account_type_id', 'parentId', 'is_active']",
    without:
      "array['uuid_be', 'name', 'email', 'phone_no', 'no_ktp', 'no_npwp', 'account_no', 'account_type_id', 'parentId', 'is_active']",
    foundBy: {
      file: "test/e2e/sync.test.ts",
      test: "writing external ids, audit columns or nothing new causes no request",
    },
  },
  {
    name: "compare and set: an operator's id is not overwritten",
    file: "src/sync/write-back.ts",
    text: `return ids.current === ids.read && ids.replace ? "write" : "conflict";`,
    without: `return "write";`,
    foundBy: { file: "test/db/sync/returned-ids.test.ts", test: "keeps the id of the row" },
  },
  {
    name: "the send: nothing is written to the network when the lease is over by the clock",
    file: "src/sync/send.ts",
    text: "lease.isHeld() && wiring.clock.now()",
    without: "wiring.clock.now()",
    foundBy: {
      file: "test/faults/stop.test.ts",
      test: "while its token is on the way: the create is not begun any more",
    },
  },
  {
    name: "the delete: an account that is there again keeps its customer",
    file: "src/sync/send.ts",
    text: "return account === null ? null : end(",
    without: "return account !== undefined ? null : end(",
    foundBy: {
      file: "test/db/sync/removal.test.ts",
      test: "and inserted again while its delete waited for its turn is not deleted either",
    },
  },
  {
    name: "the delete: a customer that another account has is kept",
    file: "src/sync/deletion.ts",
    text: "if (owner !== null)",
    without: 'if (owner === "")',
    foundBy: {
      file: "test/db/sync/removal.test.ts",
      test: "keeps its customer when another account has the same one",
    },
  },
  {
    name: "the retry: a create is not sent beside the first one",
    file: "src/sync/in-doubt.ts",
    text: "? repeatOnceAlone(sync, connection, unsettled)",
    without: "? repeat(sync, connection, unsettled)",
    foundBy: {
      file: "test/db/sync/late-answer.test.ts",
      test: "that a person sends again waits for the first, which may still be answered",
    },
  },
  {
    name: 'the lookup: a "not there" that comes too early is not believed',
    file: "src/sync/in-doubt.ts",
    text: "return waitMs <= 0",
    without: "return waitMs <= 1e9",
    foundBy: {
      file: "test/db/sync/lookup.test.ts",
      test: "that is not there yet is not sent again while the API may be at work on it",
    },
  },
  {
    name: "the lookup: only who holds the lease asks",
    file: "src/sync/look-up-customer.ts",
    text: "if (!(await wiring.isStillOurs(claim, sync.dbSignal))) return LEASE_LOST;",
    without: "",
    foundBy: {
      file: "test/db/sync/lookup.test.ts",
      test: "is not even looked for by somebody who has lost the lease",
    },
  },
  {
    name: "the lookup: no customer is given to two accounts",
    file: "src/sync/adopt.ts",
    text: "if (takenBy !== null) return { takenBy };",
    without: 'if (takenBy === "") return { takenBy };',
    foundBy: {
      file: "test/db/sync/lookup.test.ts",
      test: "is never given a customer whose id",
    },
  },
  {
    name: "the lookup: accounts that found one customer take turns",
    file: "src/sync/adopt.ts",
    text: `await tx.run("lock_external_id", [externalId]);`,
    without: "",
    foundBy: {
      file: "test/db/sync/lookup.test.ts",
      test: "takes turns with others that found the same customer, and looks whose it is only then",
    },
  },
  {
    name: "the lookup: what was found is brought up to date",
    file: "src/sync/look-up-customer.ts",
    text: "await wiring.adopt({ claim, sent: create.sent, received, home }, sync.dbSignal);",
    without: "{ takenBy: null };",
    foundBy: {
      file: "test/db/sync/lookup.test.ts",
      test: "that was adopted is updated also when nothing changed",
    },
  },
  {
    name: "the lookup: an account that was never sent is looked for before it is created",
    file: "src/sync/sync-account.ts",
    text: "(await lookForCustomer(sync, connection, draft)) ??",
    without: "",
    foundBy: {
      file: "test/db/sync/ways-out.test.ts",
      test: "a customer of an earlier system is taken over, not made twice",
    },
  },
  {
    name: "the mapping: a row that has lost its id has the one that is mapped",
    file: "src/account/mapped-ids.ts",
    text: "return kept;",
    without: "return null;",
    foundBy: {
      file: "test/db/sync/id-mapping.test.ts",
      test: "a whole row saved as loaded before the write-back",
    },
  },
  {
    name: "the mapping: what the API gave out is kept on our side",
    file: "src/sync/settle.ts",
    text: "mapIds(tx, decided),",
    without: "",
    foundBy: {
      file: "test/db/sync/id-mapping.test.ts",
      test: "an import that deletes and inserts the account in one transaction",
    },
  },
  {
    name: "the mapping: ids of removed rows are known, too",
    file: "src/sync/deletion.ts",
    text: "unsettled?.received?.customer ?? filled(claim.removedExternalId) ?? mapping.externalId;",
    without: "unsettled?.received?.customer ?? filled(claim.removedExternalId);",
    foundBy: { file: "test/db/sync/id-mapping.test.ts", test: "F47" },
  },
  {
    name: "the home configuration: an account stays with the API that gave it its id",
    file: "src/sync/home.ts",
    text: ": await connectHome(sync, home ?? (await wiring.lastHome(account.id)) ?? DEFAULT_HOME);",
    without: ": await wiring.connection(claim.configId);",
    foundBy: {
      file: "test/db/sync/home.test.ts",
      test: "is not sent to the default one, where its id is another account's",
    },
  },
  {
    name: "the key of a create: derived, so that it survives a restore",
    file: "src/sync/sync-account.ts",
    text: "? createKeyOf(await wiring.installationId(), account.id, claim.createsEnded)",
    without: "? crypto.randomUUID()",
    foundBy: { file: "test/db/sync/id-mapping.test.ts", test: "F48" },
  },
  {
    name: "the key of a create: another one after a refusal",
    file: "src/sync/endings.ts",
    text: 'endsCreate: attempt.operation === "create" && delivery === "not_applied",',
    without: "endsCreate: false,",
    foundBy: {
      file: "test/db/sync/id-mapping.test.ts",
      test: "a create that was refused is another create after the correction",
    },
  },
  {
    name: "a 503: may have been applied, unless the operator says otherwise",
    file: "src/customer-api/failure.ts",
    text: `503: { errorClass: "server", delivery: "unknown"`,
    without: `503: { errorClass: "server", delivery: "not_applied"`,
    foundBy: { file: "test/faults/mesh.test.ts", test: "F44" },
  },
  {
    name: "the discard: good for one send",
    file: "sql/queries/sync/journal_sends.sql",
    text: "a.request - 'retry' - 'discard'",
    without: "a.request - 'retry'",
    foundBy: {
      file: "test/db/sync/ways-out.test.ts",
      test: "giving up is good for one send",
    },
  },
  {
    name: "the discard: not while the send may be under way",
    file: "src/sync/in-doubt.ts",
    text: "waitMs <= 0\n      ? discardUnsettled",
    without: "waitMs <= 1e9\n      ? discardUnsettled",
    foundBy: {
      file: "test/db/sync/ways-out.test.ts",
      test: "giving up waits while the API may still be working on the send",
    },
  },
  {
    name: "an end: the same 5xx is not repeated for ever",
    file: "src/sync/endings.ts",
    text: "if (failureKind !== null && isLastAlike(claim, failureKind)) {",
    without: "if (failureKind === '') {",
    foundBy: {
      file: "test/db/sync/ways-out.test.ts",
      test: "parks with the choice after five times, instead of going round for ever",
    },
  },
  {
    name: "an end: failures of another kind do not count",
    file: "src/sync/endings.ts",
    text: "return (failureKind === kind ? failuresAlike : 0) + 1 >= ALIKE_TRIES;",
    without: "return failuresAlike + 1 >= ALIKE_TRIES;",
    foundBy: {
      file: "test/db/sync/ways-out.test.ts",
      test: "whatever fails in between: parked by the fifth of one kind in a row",
    },
  },
];
