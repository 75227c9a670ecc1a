/**
 * Whatever an API answers for a section, no row gets a wrong id: a model API assigns an id to every row, and then answers as badly as
 * it likes. The model knows which row each id is for, so every wrong match is found.
 *
 * Answers that are wrong in a way that cannot be detected are left out of the model: an API that echoes nothing keeps the order where it
 * answers for every row, and adds an item of another customer only to a list that gets longer by it. What an API echoes is true, and no
 * such item has the content of one of our rows; a reference may be unknown to us.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AnswerSection } from "../../src/customer-api/answer.ts";
import type {
  CommandCrew,
  CommandTier,
  CustomerCommand,
  SentRow,
} from "../../src/customer-command/command.ts";
import { matchIds } from "../../src/customer-command/match-ids.ts";
import type { ReceivedId } from "../../src/customer-command/match-rows.ts";

describe.each(["tier", "pic"] as const)("a section of the kind %s", (entity) => {
  test("gives no row an id that was given out for another", () => {
    fc.assert(
      fc.property(anyExchange(entity), (exchange) => {
        const { received } = match(exchange);

        const givenOut = new Map(exchange.truth.map((row) => [row.externalId, row]));
        for (const { id, externalId } of received) {
          const own = exchange.truth.find((row) => row.id === id);
          // Rows of the same content are the same to the API: either may have either id, unless one had it before.
          expect(givenOut.get(externalId)?.content).toBe(own?.content);
          if (own?.isKnown === true) expect(externalId).toBe(own.externalId);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  test("gives no id to two rows, and no row two ids", () => {
    fc.assert(
      fc.property(anyExchange(entity), (exchange) => {
        const { received } = match(exchange);

        expect(new Set(received.map(({ externalId }) => externalId)).size).toBe(received.length);
        expect(new Set(received.map(({ id }) => id)).size).toBe(received.length);
      }),
      { numRuns: 2_000 },
    );
  });

  test("gives only ids that were answered, once, and are of no row that was not sent", () => {
    fc.assert(
      fc.property(anyExchange(entity), (exchange) => {
        const { received } = match(exchange);

        const answered = exchange.section.items.map(({ id }) => id);
        for (const { externalId } of received) {
          expect(answered.filter((id) => id === externalId)).toHaveLength(1);
          expect(exchange.unsentIds).not.toContain(externalId);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("reports every row that is left without an id, and every one that the API refused", () => {
    fc.assert(
      fc.property(anyExchange(entity), (exchange) => {
        const { received, told } = match(exchange);

        const has = new Set(received.map(({ id }) => id));
        const without = exchange.truth.filter((row) => !row.isKnown && !has.has(row.id)).length;
        const refused = Math.min(exchange.section.failed, exchange.truth.length);
        expect(told).toBe(Math.max(without, refused));
      }),
      { numRuns: 2_000 },
    );
  });

  test.each(["reference", "key", "known"] as const)(
    "gives every row that was answered its id where the evidence is the %s, in any order, whatever is missing and whatever failed",
    (evidence) => {
      fc.assert(
        fc.property(provenExchange(entity, evidence), (exchange) => {
          const { received } = match(exchange);

          const answered = new Set(exchange.section.items.map(({ id }) => id));
          const expected = exchange.truth
            .filter(({ externalId }) => answered.has(externalId))
            .map(({ id, externalId }) => ({ id, externalId }));
          expect(received).toEqual(expected);
        }),
        { numRuns: 2_000 },
      );
    },
  );

  test("F49 matches GUIDs alike in whatever letter case each of them comes, and a row keeps the one it has", () => {
    const anyCase = fc.array(fc.boolean(), { minLength: 97, maxLength: 97 });
    fc.assert(
      fc.property(anyExchange(entity), anyCase, (exchange, capitals) => {
        const plain = withIds(exchange, toGuid);
        const mixed = withIds(exchange, mixedCase(capitals));

        const expected = match(plain);
        const { received, told } = match(mixed);

        expect(received.map(inLowerCase)).toEqual(expected.received);
        expect(told).toBe(expected.told);
        for (const { id, externalId } of received) {
          const known = mixed.truth.find((row) => row.isKnown && row.id === id)?.externalId;
          if (known?.toLowerCase() === externalId.toLowerCase()) expect(externalId).toBe(known);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("gives every row its id where nothing is echoed and the list is whole", () => {
    fc.assert(
      fc.property(wholeExchange(entity), (exchange) => {
        const { received, told } = match(exchange);

        expect(received).toEqual(exchange.truth.map(({ id, externalId }) => ({ id, externalId })));
        expect(told).toBe(0);
      }),
    );
  });

  test("gives nothing but what is proven where an unechoed list is not whole", () => {
    fc.assert(
      fc.property(wholeExchange(entity), fc.nat({ max: 5 }), fc.boolean(), (whole, at, failed) => {
        const items = whole.section.items.filter(
          (_, index) => failed || index !== at % whole.section.items.length,
        );
        const section = { ...whole.section, items, failed: failed ? 1 : 0 };

        const { received } = match({ ...whole, section });

        const proven = whole.truth.filter(
          ({ isKnown, externalId }) => isKnown && items.some(({ id }) => id === externalId),
        );
        expect(received).toEqual(proven.map(({ id, externalId }) => ({ id, externalId })));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("the account", () => {
  const anySection = fc.record({
    id: fc.constantFrom(null, "", "customer", "branch", "x".repeat(256)),
    failed: fc.nat({ max: 1 }),
    reference: fc.constantFrom(undefined, "a1", "a2"),
  });
  const anyAccount = fc.record({
    known: fc.constantFrom(null, "customer", "other"),
    customer: anySection,
    branch: anySection,
  });

  test("never takes a branch's id for a customer's while the answer names one or another is known", () => {
    fc.assert(
      fc.property(anyAccount, ({ known, customer, branch }) => {
        const received = matchAccount(known, toSection(customer), toSection(branch));

        const isSame = received.customer === branch.id && received.customer !== customer.id;
        if (isSame && received.customer !== null) {
          expect(customer.id ?? "").toBe("");
          expect([null, received.customer]).toContain(known);
        }
        // Too long an id is unusable, and a reference to another row is about that row.
        for (const [id, section] of [
          [received.branch, branch],
          ...(isSame ? [] : [[received.customer, customer] as const]),
        ] as const)
          if (id !== null) {
            expect(id).toBe(section.id);
            expect(id.length).toBeLessThanOrEqual(255);
            expect(section.reference).not.toBe("a2");
          }
      }),
      { numRuns: 3_000 },
    );
  });

  test("takes it where the answer names no customer and none is known", () => {
    const received = matchAccount(null, toSection({ id: null }), toSection({ id: "branch" }));

    expect(received).toMatchObject({ customer: "branch", branch: "branch" });
  });
});

type Entity = "tier" | "pic";
type Raw = Readonly<Record<string, unknown>>;
type Item = AnswerSection["items"][number];

interface TrueRow {
  readonly id: string;
  /** Which id the API gave out for it. */
  readonly externalId: string;
  /** Whether the row has that id already. */
  readonly isKnown: boolean;
  readonly item: CommandTier | CommandCrew;
  readonly content: string;
}

interface Exchange {
  readonly entity: Entity;
  readonly truth: readonly TrueRow[];
  readonly unsentIds: readonly string[];
  readonly referenceField: string | null;
  readonly section: AnswerSection;
}

const UNSENT = Array.from({ length: 6 }, (_, index) => `unsent${index}`);
/** Seldom enough that many answers have none or one of them: combined, they hide each other. */
const seldom = fc.nat({ max: 4 }).map((value) => value === 4);

/** Rows of few different values, so that echoes are often ambiguous and contents often equal. */
function anyRows(entity: Entity): fc.Arbitrary<TrueRow[]> {
  return fc
    .array(fc.record({ item: anyItem(entity), isKnown: seldom }), { minLength: 1, maxLength: 6 })
    .map((rows) => rows.map(({ item, isKnown }, index) => toRow(index, item, isKnown)));
}

/** Rows that differ in what proves a row. */
function distinctRows(entity: Entity): fc.Arbitrary<TrueRow[]> {
  return fc
    .uniqueArray(fc.nat({ max: 20 }), { minLength: 1, maxLength: 6 })
    .chain((numbers) =>
      fc.tuple(...numbers.map((n) => anyItem(entity).map((item) => ({ n, item })))),
    )
    .map((rows) =>
      rows.map(({ n, item }, index) =>
        toRow(
          index,
          entity === "tier"
            ? { ...item, min_amount: n * 10, max_amount: n * 10 + 9 }
            : { ...item, username: `user${n}` },
          false,
        ),
      ),
    );
}

function anyItem(entity: Entity): fc.Arbitrary<CommandTier | CommandCrew> {
  return entity === "tier"
    ? fc.record({
        tier_type: fc.constantFrom("nominal" as const, "percentage" as const),
        tier_category: fc.constant("discount" as const),
        min_amount: fc.constantFrom(0, 100),
        max_amount: fc.constantFrom(200, 300.5),
        fee: fc.constantFrom(1, 2),
        valid_from: fc.constantFrom("2024-01-01T00:00:00", "2025-01-01T00:00:00"),
        valid_to: fc.constant("2026-12-31T23:59:59"),
      })
    : fc.record({
        ktp: fc.constantFrom("", "3174000000000001", "3174000000000002"),
        npwp: fc.constant(""),
        name: fc.constantFrom("Budi", "Siti"),
        msisdn: fc.constantFrom("", "+6281234567890", "+6281311112222"),
        email: fc.constantFrom("", "a@example.id", "b@example.id"),
        username: fc.constantFrom("budi", "siti"),
      });
}

/** Unlike any row of ours: an item of equal content could not be told from one of ours. */
const STRANGER = {
  min_amount: 7_000,
  max_amount: 8_000,
  username: "stranger",
  email: "stranger@example.id",
  msisdn: "+6289999999999",
  ktp: "3174999999999999",
} as unknown as CommandTier;

function toRow(index: number, item: CommandTier | CommandCrew, isKnown: boolean): TrueRow {
  return {
    id: `r${index}`,
    externalId: `x${index}`,
    isKnown,
    item,
    content: JSON.stringify(item),
  };
}

/** What an API repeats of an item: any part of it, each field as it came or in a form of the API's own. */
const anyEcho = fc.record({
  fields: fc.subarray([
    "tier_type",
    "min_amount",
    "max_amount",
    "fee",
    "valid_from",
    "valid_to",
    "username",
    "email",
    "msisdn",
    "ktp",
  ]),
  style: fc.constantFrom("as sent", "as text", "shouted", "masked"),
});
type Echo = typeof anyEcho extends fc.Arbitrary<infer Value> ? Value : never;

function echoOf(item: object, { fields, style }: Echo): Raw {
  const values = item as Raw;
  const echoed = fields.filter((field) => field in values).map((field) => [field, values[field]]);
  return Object.fromEntries(
    echoed.map(([field, value]) => {
      if (style === "as text" && typeof value === "number") return [field, value.toFixed(2)];
      if (style === "shouted" && typeof value === "string") return [field, value.toUpperCase()];
      if (style === "masked" && field === "email" && value !== "") return [field, "***"];
      return [field, value];
    }),
  );
}

/** Silent APIs echo nothing; the others echo one part of every item, and with it the reference where they keep it. */
function anyExchange(entity: Entity): fc.Arbitrary<Exchange> {
  const anyHabit = fc.record({
    echo: fc.option(anyEcho, { freq: 4 }),
    reference: fc.constantFrom("no field", "absent", "kept", "its own"),
    leavesOut: seldom,
    adds: seldom,
    repeats: seldom,
    sharesAnId: seldom,
    losesAnId: seldom,
    shuffles: fc.boolean(),
    fillsWithUnsent: seldom,
    failed: fc.option(fc.nat({ max: 7 }), { freq: 4 }),
    says: seldom,
  });
  return fc
    .record({
      truth: anyRows(entity),
      habit: anyHabit,
      order: fc.array(fc.nat(), { minLength: 6, maxLength: 6 }),
      left: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
    })
    .map(({ truth, habit, order, left }) => {
      const proves = habit.reference === "kept" || provesAlone(entity, habit.echo);
      const raw = (row: Pick<TrueRow, "id" | "item">): Raw => ({
        ...(habit.echo === null ? {} : echoOf(row.item, habit.echo)),
        ...(habit.reference === "kept" ? { ref: row.id } : {}),
        ...(habit.reference === "its own" ? { ref: `theirs-${row.id}` } : {}),
      });

      let rows = truth.map((row, index) => ({ row, rank: order[index] ?? 0, index }));
      if (habit.leavesOut) rows = rows.filter(({ index }) => left[index] === false);
      const isWhole = rows.length === truth.length;
      // An API that neither echoes nor leaves out keeps the order: otherwise the answer holds no evidence at all.
      if (habit.shuffles && (proves || !isWhole)) rows = rows.toSorted((a, b) => a.rank - b.rank);

      const items: Item[] = rows.map(({ row }) => toItem(row.externalId, raw(row)));
      const [first, second] = items;
      if (habit.losesAnId && first !== undefined) items[0] = { ...first, id: null };
      // Where the id is lost on the one and stands on the other, the answer lies and shows no trace of it.
      if (habit.sharesAnId && !habit.losesAnId && first?.id != null && second !== undefined)
        items[1] = toItem(first.id, second.raw);
      if (habit.repeats && first !== undefined) items.push({ ...first });
      if (habit.adds && (proves || isWhole))
        items.unshift(toItem("stranger", raw({ id: "r99", item: STRANGER })));
      if (habit.fillsWithUnsent && !proves)
        for (const id of UNSENT.slice(0, truth.length - items.length))
          items.unshift(toItem(id, {}));

      return {
        entity,
        truth,
        unsentIds: UNSENT,
        referenceField: habit.reference === "no field" ? null : "ref",
        section: {
          present: true,
          items,
          failed: habit.failed ?? 0,
          errors: habit.says ? ["one was refused"] : [],
        },
      };
    });
}

/** Whether the echo distinguishes a row from a foreign item: the amounts of a tier, all of a contact person. */
function provesAlone(entity: Entity, echo: Echo | null): boolean {
  if (echo === null) return false;
  const needed = entity === "tier" ? ["min_amount", "max_amount"] : ["username"];
  return needed.every((field) => (echo.fields as string[]).includes(field));
}

/** Every item carries evidence that fits one row only. */
function provenExchange(
  entity: Entity,
  evidence: "reference" | "key" | "known",
): fc.Arbitrary<Exchange> {
  return fc
    .record({
      rows: distinctRows(entity),
      echo: anyEcho,
      order: fc.array(fc.nat(), { minLength: 6, maxLength: 6 }),
      left: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
      failed: fc.nat({ max: 3 }),
    })
    .map(({ rows, echo, order, left, failed }) => {
      const truth = rows.map((row) => ({ ...row, isKnown: evidence === "known" }));
      const key = entity === "tier" ? ["min_amount", "max_amount"] : ["username"];
      const whole = { ...echo, fields: [...new Set([...echo.fields, ...key])] } as Echo;
      const raw = (row: TrueRow): Raw => {
        if (evidence === "reference") return { ref: row.id };
        return evidence === "key" ? echoOf(row.item, whole) : {};
      };
      const items = truth
        .map((row, index) => ({ row, rank: order[index] ?? 0, isLeftOut: left[index] === true }))
        .filter(({ isLeftOut }) => !isLeftOut)
        .toSorted((a, b) => a.rank - b.rank)
        .map(({ row }) => toItem(row.externalId, raw(row)));
      return {
        entity,
        truth,
        unsentIds: UNSENT,
        referenceField: "ref",
        section: { present: true, items, failed, errors: [] },
      };
    });
}

function wholeExchange(entity: Entity): fc.Arbitrary<Exchange> {
  // Known rows keep the position at which they were sent: only that distinguishes two equal ones.
  return fc
    .tuple(
      distinctRows(entity).filter((rows) => rows.length > 1),
      fc.array(seldom, { minLength: 6, maxLength: 6 }),
    )
    .map(([rows, known]) => {
      const truth = rows.map((row, index) => ({ ...row, isKnown: known[index] === true }));
      const items = truth.map(({ externalId }) => toItem(externalId, {}));
      return {
        entity,
        truth,
        unsentIds: UNSENT,
        referenceField: null,
        section: { present: true, items, failed: 0, errors: [] },
      };
    });
}

/** The same exchange with other ids. Our own row ids stay as the database writes them; an echo of them is the API's. */
function withIds(exchange: Exchange, rename: (name: string) => string): Exchange {
  return {
    ...exchange,
    truth: exchange.truth.map((row) => ({
      ...row,
      id: toGuid(row.id),
      externalId: rename(row.externalId),
    })),
    unsentIds: exchange.unsentIds.map(rename),
    section: {
      ...exchange.section,
      items: exchange.section.items.map(({ id, raw }) => ({
        id: id === null ? null : rename(id),
        raw: { ...raw, ...(typeof raw["ref"] === "string" ? { ref: rename(raw["ref"]) } : {}) },
      })),
    },
  };
}

function toGuid(name: string): string {
  const hex = Buffer.from(name).toString("hex").padEnd(32, "a");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Each letter of each GUID as the next of `capitals` says. */
function mixedCase(capitals: readonly boolean[]): (name: string) => string {
  let at = 0;
  return (name) =>
    toGuid(name).replaceAll(/[a-f]/g, (letter) => {
      at += 1;
      return capitals[at % capitals.length] === true ? letter.toUpperCase() : letter;
    });
}

function inLowerCase({ id, externalId }: ReceivedId): ReceivedId {
  return { id, externalId: externalId.toLowerCase() };
}

function toItem(id: string, raw: Raw): Item {
  return { id, raw: { ...raw, id } };
}

function match({ entity, truth, unsentIds, referenceField, section }: Exchange): {
  readonly received: readonly ReceivedId[];
  readonly told: number;
} {
  const rows: SentRow[] = truth.map(({ id, externalId, isKnown }) => ({
    id,
    externalId: isKnown ? externalId : null,
  }));
  const items = truth.map(({ item }) => item);
  const isTier = entity === "tier";
  const { tiers, pics, problems } = matchIds(
    {
      refusal: null,
      customer: { ...NONE, items: [{ id: "c", raw: {} }] },
      branch: NONE,
      tier: isTier ? section : NONE,
      crew: isTier ? NONE : section,
    },
    toCommand(null, isTier ? (items as CommandTier[]) : [], isTier ? [] : (items as CommandCrew[])),
    {
      accountId: "a1",
      externalId: null,
      branchExternalId: null,
      tiers: isTier ? rows : [],
      pics: isTier ? [] : rows,
      unsentIds: { tiers: isTier ? unsentIds : [], pics: isTier ? [] : unsentIds },
    },
    { referenceField, answers: "the command" },
  );
  return {
    received: isTier ? tiers : pics,
    told: problems.find((problem) => problem.entity === entity)?.count ?? 0,
  };
}

const NONE: AnswerSection = { present: false, items: [], failed: 0, errors: [] };

function toSection(given: {
  readonly id: string | null;
  readonly failed?: number;
  readonly reference?: string | undefined;
}): AnswerSection {
  const raw = { id: given.id, ...(given.reference === undefined ? {} : { ref: given.reference }) };
  return { ...NONE, present: true, items: [{ id: given.id, raw }], failed: given.failed ?? 0 };
}

function matchAccount(known: string | null, customer: AnswerSection, branch: AnswerSection) {
  return matchIds(
    { refusal: null, customer, branch, tier: NONE, crew: NONE },
    toCommand(known, [], []),
    { accountId: "a1", externalId: known, branchExternalId: null, tiers: [], pics: [] },
    { referenceField: "ref", answers: "the command" },
  );
}

function toCommand(
  customerId: string | null,
  tier: readonly CommandTier[],
  crew: readonly CommandCrew[],
): CustomerCommand {
  const address = {
    building: "",
    street: "",
    region: "",
    city: "",
    state: "",
    country: "Indonesia",
    zip_code: "",
  };
  return {
    customer: {
      ...(customerId === null ? {} : { id: customerId }),
      name: "Toko",
      email: "",
      msisdn: "",
      address,
      customer_role: "branch",
      parent_id: null,
      customer_type: "INDIVIDUAL",
      ktp: "",
      npwp: "",
    },
    tier,
    "customer-crew": crew,
    "beneficiary-account": null,
    branch: { name: "Toko", code: "", address },
  };
}
