import { describe, expect, test } from "vitest";
import type { AnswerSection, CustomerAnswer } from "../../src/customer-api/answer.ts";
import type {
  CommandCrew,
  CommandTier,
  CustomerCommand,
  SentRow,
} from "../../src/customer-command/command.ts";
import { matchIds, type ReceivedIds } from "../../src/customer-command/match-ids.ts";
import type { MatchOptions } from "../../src/customer-command/match-rows.ts";

describe("the account", () => {
  test("customer and branch have an id each", () => {
    const received = match({
      answer: { customer: section({ id: "c" }), branch: section({ id: "b" }) },
    });

    expect(received).toEqual({ customer: "c", branch: "b", tiers: [], pics: [], problems: [] });
  });

  test("the branch's id is the customer's where no customer is named", () => {
    const received = match({ answer: { branch: section({ id: "b" }) } });

    expect(received).toMatchObject({ customer: "b", branch: "b", problems: [] });
  });

  test("the branch's id is no replacement for a customer id that cannot be used", () => {
    const answer = {
      customer: section({ id: null, raw: { id: "x".repeat(256) } }),
      branch: section({ id: "b" }),
    };

    expect(match({ answer })).toMatchObject({ customer: null, branch: "b" });
    expect(problemsOf(match({ answer }))).toEqual([["account", 1]]);
  });

  test("an update that names only the branch leaves the customer's id alone", () => {
    const received = match({ customerId: "c", answer: { branch: section({ id: "b" }) } });

    expect(received).toMatchObject({ customer: null, branch: "b", problems: [] });
  });

  test("an update answered with another customer id hands it on, as a conflict for the write-back", () => {
    const received = match({ customerId: "c", answer: { customer: section({ id: "other" }) } });

    expect(received).toMatchObject({ customer: "other", problems: [] });
  });

  test("F49 an update answered with its GUIDs in another letter case keeps those of the row", () => {
    const guid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const answer = {
      customer: section({ id: guid.toUpperCase() }, { id: guid }),
      branch: section({ id: "BRN-1" }),
    };

    const received = match({ customerId: guid, answer });

    expect(received).toMatchObject({ customer: guid, branch: "BRN-1", problems: [] });
  });

  test.each<[string, Partial<CustomerAnswer>]>([
    ["has no section", {}],
    ["names two customers", { customer: section({ id: "c1" }, { id: "c2" }) }],
    ["names a blank id", { customer: section({ id: " " }) }],
    ["names another account's", { customer: section({ id: "c", raw: { ref: "a2" } }) }],
  ])("a create whose answer %s is incomplete", (_, answer) => {
    const received = match({ answer, referenceField: "ref" });

    expect(received.customer).toBeNull();
    expect(problemsOf(received)).toEqual([["account", 1]]);
  });

  test("a refused branch is a problem of the account, reported in the API's words", () => {
    const answer = {
      customer: section({ id: "c" }),
      branch: { ...section(), failed: 1, errors: ["code is taken"] },
    };

    const received = match({ answer });

    expect(received.customer).toBe("c");
    expect(problemsOf(received)).toEqual([["account", 1]]);
    expect(received.problems[0]?.message).toContain("code is taken");
  });
});

describe("by the id a row has already", () => {
  test("ids come back in any order", () => {
    const received = match({
      tiers: [row("t1", "x1"), row("t2", "x2")],
      answer: { tier: section({ id: "x2" }, { id: "x1" }) },
    });

    expect(received.tiers).toEqual([
      { id: "t1", externalId: "x1" },
      { id: "t2", externalId: "x2" },
    ]);
    expect(received.problems).toEqual([]);
  });

  test("the one new row among known ones gets the one new id, wherever it stands", () => {
    const received = match({
      tiers: [row("new"), row("t2", "x2"), row("t3", "x3")],
      answer: { tier: section({ id: "x2" }, { id: "x3" }, { id: "x1" }) },
    });

    expect(received.tiers[0]).toEqual({ id: "new", externalId: "x1" });
  });

  test("new rows take the positions that known ones leave, while those stand where they were sent", () => {
    const received = match({
      tiers: [row("new1"), row("t2", "x2"), row("new3")],
      answer: { tier: section({ id: "n1" }, { id: "x2" }, { id: "n3" }) },
    });

    expect(received.tiers.map((each) => each.externalId)).toEqual(["n1", "x2", "n3"]);
  });

  test("where a known row moved, the positions of two new ones prove nothing", () => {
    const received = match({
      tiers: [row("new1"), row("t2", "x2"), row("new3")],
      answer: { tier: section({ id: "x2" }, { id: "n1" }, { id: "n3" }) },
    });

    expect(received.tiers).toEqual([{ id: "t2", externalId: "x2" }]);
    expect(problemsOf(received)).toEqual([["tier", 2]]);
  });

  test("an id that two rows share confirms neither", () => {
    const received = match({
      tiers: [row("t1", "x1"), row("t2", "x1"), row("new")],
      answer: { tier: section({ id: "x1" }, { id: "x2" }, { id: "x3" }) },
    });

    expect(received.tiers).toEqual([]);
    expect(problemsOf(received)).toEqual([["tier", 1]]);
  });

  test("an answer without a section, or with a shorter one, is no problem while all rows have ids", () => {
    const tiers = [row("t1", "x1"), row("t2", "x2")];

    expect(match({ tiers }).problems).toEqual([]);
    expect(match({ tiers, answer: { tier: section({ id: "x2" }) } })).toMatchObject({
      tiers: [{ id: "t2", externalId: "x2" }],
      problems: [],
    });
  });

  test("a known row answered with another id alone is handed on as a conflict", () => {
    const received = match({
      tiers: [row("t1", "x1")],
      answer: { tier: section({ id: "other" }) },
    });

    expect(received.tiers).toEqual([{ id: "t1", externalId: "other" }]);
  });

  test("a new row beside a known one that was answered with another id gets nothing", () => {
    const received = match({
      tiers: [row("t1", "x1"), row("new")],
      answer: { tier: section({ id: "other1" }, { id: "other2" }) },
    });

    expect(received.tiers).toEqual([]);
    expect(problemsOf(received)).toEqual([["tier", 1]]);
  });
});

describe("by the reference", () => {
  test("the local id decides, against position and against what is echoed", () => {
    const received = match({
      referenceField: "ref",
      tiers: [row("1"), row("2")],
      answer: {
        tier: section(
          { id: "x2", raw: { ref: 2, min_amount: 0, max_amount: 10 } },
          { id: "x1", raw: { ref: "1", min_amount: 10, max_amount: 20 } },
        ),
      },
    });

    expect(received.tiers).toEqual([
      { id: "1", externalId: "x1" },
      { id: "2", externalId: "x2" },
    ]);
  });

  test("a reference to no row we sent keeps the whole section from being matched by position", () => {
    const received = match({
      referenceField: "ref",
      tiers: [row("t1"), row("t2")],
      answer: { tier: section({ id: "x1", raw: { ref: "t9" } }, { id: "x2" }) },
    });

    expect(received.tiers).toEqual([]);
    expect(problemsOf(received)).toEqual([["tier", 2]]);
  });

  test("one row cannot be referred to twice", () => {
    const received = match({
      referenceField: "ref",
      tiers: [row("t1"), row("t2")],
      answer: { tier: section({ id: "x1", raw: { ref: "t1" } }, { id: "x2", raw: { ref: "t1" } }) },
    });

    expect(received.tiers).toEqual([]);
  });

  test("an id of one row echoed with the reference of another belongs to neither", () => {
    const received = match({
      referenceField: "ref",
      tiers: [row("t1", "x1"), row("new")],
      answer: { tier: section({ id: "x1", raw: { ref: "new" } }) },
    });

    expect(received.tiers).toEqual([]);
    expect(problemsOf(received)).toEqual([["tier", 1]]);
  });
});

describe("by the echo", () => {
  const TIERS = [
    tier({ min_amount: 0, max_amount: 100 }),
    tier({ min_amount: 100, max_amount: 200.5 }),
  ];

  test.each<[string, Raw, Raw]>([
    ["numbers", { min_amount: 100, max_amount: 200.5 }, { min_amount: 0, max_amount: 100 }],
    [
      "numbers as text",
      { min_amount: "100.00", max_amount: "200.50" },
      { min_amount: "0.00", max_amount: "100" },
    ],
    [
      "dates in another form",
      {
        min_amount: 100,
        max_amount: 200.5,
        valid_from: "2024-01-01",
        valid_to: "2024-12-31 00:00",
      },
      { min_amount: 0, max_amount: 100, valid_from: "2024-01-01T00:00:00.000+07:00" },
    ],
    [
      "dates in UTC",
      { min_amount: 100, max_amount: 200.5, valid_from: "2023-12-31T17:00:00.000Z" },
      { min_amount: 0, max_amount: 100, valid_to: "2024-12-31T16:59:59Z" },
    ],
    [
      "nulls and blanks beside them",
      { min_amount: 100, max_amount: 200.5, fee: null },
      { min_amount: 0, max_amount: 100, valid_from: "" },
    ],
  ])("tiers in another order are told apart by %s", (_, first, second) => {
    const received = match({
      tiers: [row("t1"), row("t2")],
      tierItems: TIERS,
      answer: { tier: section({ id: "x2", raw: first }, { id: "x1", raw: second }) },
    });

    expect(received.tiers).toEqual([
      { id: "t1", externalId: "x1" },
      { id: "t2", externalId: "x2" },
    ]);
  });

  test.each<[string, Raw]>([
    ["username", { username: "SITI" }],
    ["e-mail", { email: "Siti@example.id" }],
    ["phone number without calling code", { msisdn: "0813-1111-2222" }],
    ["ktp", { ktp: "3174000000000002" }],
    ["username, with the rest masked", { username: "siti", email: "s***@example.id", ktp: "***" }],
  ])("crew in another order is told apart by %s", (_, raw) => {
    const received = match({
      pics: [row("budi"), row("siti")],
      crewItems: [
        crew({ username: "budi", email: "budi@example.id", msisdn: "+6281234567890", ktp: "" }),
        crew({
          username: "siti",
          email: "siti@example.id",
          msisdn: "+6281311112222",
          ktp: "3174000000000002",
        }),
      ],
      answer: { crew: section({ id: "x", raw }) },
    });

    expect(received.pics).toEqual([{ id: "siti", externalId: "x" }]);
    expect(problemsOf(received)).toEqual([["pic", 1]]);
  });

  test("ids of a partial failure are written, rows without one are reported", () => {
    const received = match({
      tiers: [row("t1"), row("t2")],
      tierItems: TIERS,
      answer: {
        tier: {
          ...section({ id: "x2", raw: { min_amount: 100, max_amount: 200.5 } }),
          failed: 1,
          errors: ["tier 1 overlaps"],
        },
      },
    });

    expect(received.tiers).toEqual([{ id: "t2", externalId: "x2" }]);
    expect(received.problems).toEqual([
      { entity: "tier", count: 1, message: expect.stringContaining("tier 1 overlaps") },
    ]);
  });

  test("an echo that fits two different rows gives neither an id", () => {
    const raw = { min_amount: 0, max_amount: 100 };
    const received = match({
      tiers: [row("t1"), row("t2")],
      tierItems: [tier({ ...raw, fee: 1 }), tier({ ...raw, fee: 2 })],
      answer: { tier: section({ id: "x1", raw }, { id: "x2", raw }) },
    });

    expect(received.tiers).toEqual([]);
    expect(problemsOf(received)).toEqual([["tier", 2]]);
  });

  test("two items that echo the same row give it no id", () => {
    const raw = { min_amount: 0, max_amount: 100 };
    const received = match({
      tiers: [row("t1"), row("t2")],
      tierItems: TIERS,
      answer: { tier: section({ id: "x1", raw }, { id: "x2", raw }) },
    });

    expect(received.tiers).toEqual([]);
  });

  test("rows that are all the same to the API may go by position", () => {
    const received = match({
      tiers: [row("t1"), row("t2")],
      tierItems: [tier({}), tier({})],
      answer: {
        tier: section({ id: "x1", raw: { ...tier({}) } }, { id: "x2", raw: { ...tier({}) } }),
      },
    });

    expect(received.tiers.map((each) => each.externalId)).toEqual(["x1", "x2"]);
  });
});

describe("by position", () => {
  test("an API that echoes nothing is trusted to keep the order", () => {
    const received = match({
      pics: [row("p1"), row("p2")],
      answer: { crew: section({ id: "x1" }, { id: "x2" }) },
    });

    expect(received.pics).toEqual([
      { id: "p1", externalId: "x1" },
      { id: "p2", externalId: "x2" },
    ]);
    expect(received.problems).toEqual([]);
  });

  test.each<[string, AnswerSection]>([
    ["is missing", section()],
    ["has fewer items", section({ id: "x1" })],
    ["has more items", section({ id: "x1" }, { id: "x2" }, { id: "x3" })],
    ["says that one failed", { ...section({ id: "x1" }, { id: "x2" }), failed: 1 }],
    ["says what went wrong", { ...section({ id: "x1" }, { id: "x2" }), errors: ["fee"] }],
    ["gives one id twice", section({ id: "x1" }, { id: "x1" })],
    ["has an item without id", section({ id: "x1" }, { id: null })],
    ["has a blank id", section({ id: "x1" }, { id: "" })],
    ["has an id that is too long", section({ id: "x1" }, { id: "x".repeat(256) })],
    ["holds the id of a row that was not sent", section({ id: "x1" }, { id: "inactive" })],
    ["echoes something else", section({ id: "x1", raw: { min_amount: 7 } }, { id: "x2" })],
  ])("but not where the section %s", (_, tierSection) => {
    const received = match({ tiers: [row("t1"), row("t2")], answer: { tier: tierSection } });

    expect(received.tiers).toEqual([]);
    expect(problemsOf(received)).toEqual([["tier", 2]]);
  });

  test("a section the API refused is a problem also when every row has its id", () => {
    const received = match({
      tiers: [row("t1", "x1"), row("t2", "x2")],
      answer: { tier: { ...section({ id: "x1" }), failed: 1 } },
    });

    expect(problemsOf(received)).toEqual([["tier", 1]]);
  });
});

type Raw = Readonly<Record<string, unknown>>;

function match(given: {
  readonly customerId?: string;
  readonly tiers?: readonly SentRow[];
  readonly tierItems?: readonly CommandTier[];
  readonly pics?: readonly SentRow[];
  readonly crewItems?: readonly CommandCrew[];
  readonly unsentIds?: readonly string[];
  readonly referenceField?: string | null;
  readonly answers?: MatchOptions["answers"];
  readonly answer?: Partial<CustomerAnswer>;
}): ReceivedIds {
  const tiers = given.tiers ?? [];
  const pics = given.pics ?? [];
  const isAboutRows = tiers.length + pics.length > 0;

  return matchIds(
    {
      refusal: null,
      customer: isAboutRows ? section({ id: "c" }) : section(),
      branch: section(),
      tier: section(),
      crew: section(),
      ...given.answer,
    },
    command({
      customerId: given.customerId,
      tiers:
        given.tierItems ??
        tiers.map((_, index) => tier({ min_amount: index * 10, max_amount: index * 10 + 10 })),
      crew: given.crewItems ?? pics.map((_, index) => crew({ username: `user${index}` })),
    }),
    {
      accountId: "a1",
      externalId: given.customerId ?? null,
      branchExternalId: null,
      tiers,
      pics,
      unsentIds: { tiers: given.unsentIds ?? ["inactive"], pics: [] },
    },
    { referenceField: given.referenceField ?? null, answers: given.answers ?? "the command" },
  );
}

function problemsOf(received: ReceivedIds): [string, number][] {
  return received.problems.map(({ entity, count }) => [entity, count]);
}

function section(...items: { readonly id: string | null; readonly raw?: Raw }[]): AnswerSection {
  return {
    present: items.length > 0,
    items: items.map(({ id, raw = {} }) => ({ id, raw: { id, ...raw } })),
    failed: 0,
    errors: [],
  };
}

function row(id: string, externalId: string | null = null): SentRow {
  return { id, externalId };
}

function tier(fields: Partial<CommandTier>): CommandTier {
  return {
    tier_type: "nominal",
    tier_category: "discount",
    min_amount: 0,
    max_amount: 100,
    fee: 1,
    valid_from: "2024-01-01T00:00:00",
    valid_to: "2024-12-31T23:59:59",
    ...fields,
  };
}

function crew(fields: Partial<CommandCrew>): CommandCrew {
  return { ktp: "", npwp: "", name: "", msisdn: "", email: "", username: "", ...fields };
}

function command(given: {
  readonly customerId: string | undefined;
  readonly tiers: readonly CommandTier[];
  readonly crew: readonly CommandCrew[];
}): CustomerCommand {
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
      ...(given.customerId === undefined ? {} : { id: given.customerId }),
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
    tier: given.tiers,
    "customer-crew": given.crew,
    "beneficiary-account": null,
    branch: { name: "Toko", code: "", address },
  };
}
