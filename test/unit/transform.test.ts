import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Account, Address, BankAccount, Pic, Tier } from "../../src/account/account.ts";
import { toCommand } from "../../src/customer-command/transform.ts";

const OPTIONS = { defaultCountry: "ID", referenceField: null };

describe("the whole command", () => {
  test("a new account becomes a create without any id of its own", () => {
    const { command, sent } = toCommand(fullAccount(), OPTIONS);

    expect(command).toEqual({
      customer: {
        name: "Toko Maju",
        email: "toko@example.id",
        msisdn: "+6281234567890",
        address: ADDRESS,
        customer_role: "sub-branch",
        parent_id: "ext-parent",
        customer_type: "INDIVIDUAL",
        ktp: "3174012345678901",
        npwp: "012345678901234",
        deduction_active_type: "percentage",
      },
      tier: [
        {
          tier_type: "percentage",
          tier_category: "discount",
          min_amount: 0,
          max_amount: 1000.5,
          fee: 2.5,
          valid_from: "2024-01-01T00:00:00",
          valid_to: "2024-12-31T23:59:59",
        },
      ],
      "customer-crew": [
        {
          ktp: "",
          npwp: "",
          name: "Budi Santoso",
          msisdn: "+6281311112222",
          email: "",
          username: "budisantoso",
        },
      ],
      "beneficiary-account": {
        firstname: "Siti",
        lastname: "Nur Aini",
        bank: { id: "ext-bank" },
        account_number: "1234567",
        account_name: "Siti Nur Aini",
        account_type: { id: "1" },
        customer_type: { id: "2" },
        region_code: { id: "31" },
        country_code: { id: "IDN" },
        customer_status: { id: "1" },
      },
      branch: { name: "Toko Maju", code: "A-1", address: ADDRESS },
    });
    expect(sent).toEqual({
      accountId: "a1",
      externalId: null,
      branchExternalId: null,
      tiers: [{ id: "t1", externalId: null }],
      pics: [{ id: "p1", externalId: null }],
      unsentIds: { tiers: [], pics: [] },
    });
  });

  test("an account with an external id becomes an update with every id that is known", () => {
    const { command, sent } = toCommand(
      account({
        externalId: "ext-a",
        branchExternalId: "ext-b",
        tiers: [tier({ id: "t1", externalId: "ext-t" }), tier({ id: "t2", minValue: 500 })],
        pics: [pic({ id: "p1", externalId: "ext-p" }), pic({ id: "p2", externalId: " " })],
      }),
      OPTIONS,
    );

    expect(command.customer.id).toBe("ext-a");
    expect(command.branch.id).toBe("ext-b");
    expect(command.tier.map((each) => each.id)).toEqual(["ext-t", undefined]);
    expect(command["customer-crew"].map((each) => each.id)).toEqual(["ext-p", undefined]);
    expect(command["tier-assignment"]).toEqual({ data: [{ id: "ext-t" }] });
    expect(sent.pics).toEqual([
      { id: "p1", externalId: "ext-p" },
      { id: "p2", externalId: " " },
    ]);
  });

  test("without a branch id of its own the branch goes by the customer's", () => {
    const { command } = toCommand(account({ externalId: "ext-a" }), OPTIONS);

    expect(command.branch.id).toBe("ext-a");
  });

  test("a create leaves out ids that tiers and crew kept from an earlier life", () => {
    const { command } = toCommand(
      account({
        branchExternalId: "old-b",
        tiers: [tier({ externalId: "old-t" })],
        pics: [pic({ externalId: "old-p" })],
      }),
      OPTIONS,
    );

    expect(JSON.stringify(command)).not.toContain("old-");
    expect(command).not.toHaveProperty("tier-assignment");
  });

  test("the local ids go along under the reference field, and only there", () => {
    const { command } = toCommand(fullAccount(), { ...OPTIONS, referenceField: "external_ref" });

    expect(command.customer).toHaveProperty("external_ref", "a1");
    expect(command.branch).toHaveProperty("external_ref", "a1");
    expect(command.tier[0]).toHaveProperty("external_ref", "t1");
    expect(command["customer-crew"][0]).toHaveProperty("external_ref", "p1");
    expect(command["beneficiary-account"]).not.toHaveProperty("external_ref");
  });

  test("a reference field with the name of a real field does not overwrite it", () => {
    const { command } = toCommand(fullAccount(), { ...OPTIONS, referenceField: "name" });

    expect(command.customer.name).toBe("Toko Maju");
    expect(command.tier[0]).toHaveProperty("name", "t1");
  });

  test("an account with nothing but a name is sent with empty text", () => {
    const { command } = toCommand(account({ name: "Toko" }), OPTIONS);

    expect(command).toEqual({
      customer: {
        name: "Toko",
        email: "",
        msisdn: "",
        address: { ...NO_ADDRESS, country: "Indonesia" },
        customer_role: "branch",
        parent_id: null,
        customer_type: "INDIVIDUAL",
        ktp: "",
        npwp: "",
      },
      tier: [],
      "customer-crew": [],
      "beneficiary-account": null,
      branch: { name: "Toko", code: "", address: { ...NO_ADDRESS, country: "Indonesia" } },
    });
  });

  test("the order in which rows were read does not change a byte", () => {
    const tiers = [
      tier({ id: "10", minValue: 5 }),
      tier({ id: "9", minValue: 5 }),
      tier({ id: "x", minValue: 5 }),
      tier({ id: "3", minValue: Number.NaN }),
      tier({ id: "4", minValue: null }),
      tier({ id: "5", minValue: 0 }),
    ];
    const pics = [pic({ id: "2" }), pic({ id: "10" }), pic({ id: "1a" }), pic({ id: "b" })];
    const reference = { ...OPTIONS, referenceField: "ref" };
    const expected = JSON.stringify(toCommand(account({ tiers, pics }), reference));

    fc.assert(
      fc.property(
        fc.shuffledSubarray(tiers, { minLength: tiers.length }),
        fc.shuffledSubarray(pics, { minLength: pics.length }),
        (shuffledTiers, shuffledPics) => {
          const shuffled = account({ tiers: shuffledTiers, pics: shuffledPics });
          expect(JSON.stringify(toCommand(shuffled, reference))).toBe(expected);
        },
      ),
    );
  });
});

describe("which rows are sent, and in which order", () => {
  test("inactive rows stay behind, but their ids are remembered", () => {
    const { command, sent } = toCommand(
      account({
        tiers: [tier({ id: "t1", isActive: false, externalId: "old-t" }), tier({ id: "t2" })],
        pics: [pic({ id: "p1", isActive: false, externalId: "old-p" }), pic({ id: "p2" })],
        addresses: [address({ isActive: false, city: "Medan" })],
        bankAccounts: [bankAccount({ isActive: false })],
      }),
      OPTIONS,
    );

    expect(sent.tiers.map((row) => row.id)).toEqual(["t2"]);
    expect(sent.pics.map((row) => row.id)).toEqual(["p2"]);
    expect(sent.unsentIds).toEqual({ tiers: ["old-t"], pics: ["old-p"] });
    expect(command.customer.address.city).toBe("");
    expect(command["beneficiary-account"]).toBeNull();
  });

  test("tiers go by their lowest amount, then by id as a number", () => {
    const { sent } = toCommand(
      account({
        tiers: [
          tier({ id: "unknown", minValue: null }),
          tier({ id: "10", minValue: 100 }),
          tier({ id: "9", minValue: 100 }),
          tier({ id: "11", minValue: 20 }),
        ],
      }),
      OPTIONS,
    );

    expect(sent.tiers.map((row) => row.id)).toEqual(["11", "9", "10", "unknown"]);
  });

  test("crew goes by age, then by id, undated rows last", () => {
    const { sent } = toCommand(
      account({
        pics: [
          pic({ id: "undated", createdAt: null }),
          pic({ id: "b", createdAt: "2024-01-02 00:00:00" }),
          pic({ id: "a", createdAt: "2024-01-02 00:00:00" }),
          pic({ id: "z", createdAt: "2024-01-01 00:00:00.5" }),
        ],
      }),
      OPTIONS,
    );

    expect(sent.pics.map((row) => row.id)).toEqual(["z", "a", "b", "undated"]);
  });

  test.each([
    [
      "the primary one",
      [address({ city: "Old" }), address({ city: "Right", isPrimary: true, createdAt: "2024" })],
    ],
    [
      "the oldest of two primary ones",
      [
        address({ city: "Young", isPrimary: true, createdAt: "2024" }),
        address({ city: "Right", isPrimary: true, createdAt: "2023" }),
      ],
    ],
    [
      "the lowest id of two equally old ones",
      [address({ id: "12", city: "High" }), address({ id: "7", city: "Right" })],
    ],
    [
      "a dated one before an undated one",
      [address({ createdAt: null }), address({ city: "Right" })],
    ],
  ])("of several addresses: %s", (_, addresses) => {
    const { command } = toCommand(account({ addresses }), OPTIONS);

    expect(command.customer.address.city).toBe("Right");
    expect(command.branch.address).toEqual(command.customer.address);
  });

  test("of several bank accounts the oldest active one counts", () => {
    const { command } = toCommand(
      account({
        bankAccounts: [
          bankAccount({ accountNumber: "young", createdAt: "2024" }),
          bankAccount({ accountNumber: "right", createdAt: "2023" }),
          bankAccount({ accountNumber: "inactive", createdAt: "2022", isActive: false }),
        ],
      }),
      OPTIONS,
    );

    expect(command["beneficiary-account"]?.account_number).toBe("right");
  });
});

describe("single fields", () => {
  test.each<[string, Partial<Tier>[], string | undefined]>([
    ["no tier at all", [], undefined],
    ["no auto deduct", [{ percentage: true, billingMethod: "Invoice" }], undefined],
    [
      "auto deduct only on an inactive tier",
      [{ isActive: false, billingMethod: "auto deduct" }],
      undefined,
    ],
    ["one percentage tier", [{ percentage: true, billingMethod: "Auto-Deduct" }], "percentage"],
    [
      "as many of each",
      [
        { percentage: true, billingMethod: "AUTO_DEDUCT" },
        { percentage: false, billingMethod: "autodeduct" },
      ],
      "nominal",
    ],
    [
      "percentages elsewhere do not count",
      [
        { percentage: true, billingMethod: null },
        { percentage: true, billingMethod: "Invoice" },
        { percentage: false, billingMethod: "Auto deduct" },
      ],
      "nominal",
    ],
  ])("deduction_active_type: %s", (_, tiers, expected) => {
    const { command } = toCommand(account({ tiers: tiers.map(tier) }), OPTIONS);

    expect(command.customer.deduction_active_type).toBe(expected);
    expect("deduction_active_type" in command.customer).toBe(expected !== undefined);
  });

  test("what a tier of the library does not have is absent, not invented", () => {
    const bare = tier({
      maxValue: null,
      amount: null,
      startDate: null,
      endDate: null,
      minValue: 0,
    });

    const { command } = toCommand(account({ tiers: [bare] }), OPTIONS);

    expect(command.tier).toEqual([
      { tier_type: "nominal", tier_category: "discount", min_amount: 0 },
    ]);
  });

  test("a NaN amount survives to be caught by validation", () => {
    const { command } = toCommand(account({ tiers: [tier({ amount: Number.NaN })] }), OPTIONS);

    expect(command.tier[0]?.fee).toBeNaN();
  });

  test.each([
    ["the column", { username: "Budi.S", name: "Budi" }, "Budi.S"],
    ["the name without white space", { username: null, name: "Budi  San\ttoso" }, "budisantoso"],
    ["the name where the column is blank", { username: " ", name: "Budi" }, "budi"],
  ])("username: %s", (_, fields, expected) => {
    const { command } = toCommand(account({ pics: [pic(fields)] }), OPTIONS);

    expect(command["customer-crew"][0]?.username).toBe(expected);
  });

  test.each([
    ["from the holder's name", { holderName: " Siti  Nur Aini " }, "Siti", "Nur Aini"],
    [
      "from their columns",
      { holderName: "S. Aini", holderFirstname: "Siti", holderLastname: "Aini" },
      "Siti",
      "Aini",
    ],
    ["one from its column", { holderName: "Siti Aini", holderLastname: "Binti" }, "Siti", "Binti"],
    ["of one word", { holderName: "Sukarno" }, "Sukarno", ""],
    ["of nothing", {}, "", ""],
  ])("names of the beneficiary: %s", (_, fields, firstname, lastname) => {
    const { command } = toCommand(account({ bankAccounts: [bankAccount(fields)] }), OPTIONS);

    expect(command["beneficiary-account"]).toMatchObject({ firstname, lastname });
  });

  test("the customer's status is the account's, not the bank row's", () => {
    const { command } = toCommand(
      account({ isActive: false, bankAccounts: [bankAccount({})] }),
      OPTIONS,
    );

    expect(command["beneficiary-account"]?.customer_status).toEqual({ id: "2" });
  });
});

const NO_ADDRESS = {
  building: "",
  street: "",
  region: "",
  city: "",
  state: "",
  country: "",
  zip_code: "",
};

const ADDRESS = {
  building: "Gedung A",
  street: "Jalan Sudirman 1",
  region: "Setiabudi",
  city: "Jakarta",
  state: "DKI Jakarta",
  country: "ID",
  zip_code: "12920",
};

function fullAccount(): Account {
  return account({
    accountNo: "A-1",
    name: "Toko Maju",
    phoneNo: "0812-3456-7890",
    email: " toko@example.id ",
    typeName: "sub-branch",
    ktp: "3174012345678901",
    npwp: "012345678901234",
    parent: { id: "a0", externalId: "ext-parent" },
    tiers: [
      tier({
        id: "t1",
        maxValue: 1000.5,
        amount: 2.5,
        percentage: true,
        billingMethod: "Auto Deduct",
      }),
    ],
    pics: [pic({ id: "p1", name: "Budi Santoso", phoneNo: "0813 1111 2222" })],
    addresses: [
      address({
        address1: "Gedung A",
        address2: "Jalan Sudirman 1",
        subDistrict: "Setiabudi",
        city: "Jakarta",
        province: "DKI Jakarta",
        country: "ID",
        postalCode: "12920",
      }),
    ],
    bankAccounts: [
      bankAccount({
        bankExternalId: "ext-bank",
        accountNumber: "1234567",
        holderName: "Siti Nur Aini",
      }),
    ],
  });
}

function account(fields: Partial<Account>): Account {
  return {
    id: "a1",
    accountNo: null,
    name: null,
    phoneNo: null,
    email: null,
    typeName: null,
    isActive: true,
    ktp: null,
    npwp: null,
    externalId: null,
    branchExternalId: null,
    parent: null,
    tiers: [],
    pics: [],
    addresses: [],
    bankAccounts: [],
    ...fields,
  };
}

function tier(fields: Partial<Tier>): Tier {
  return {
    id: "t",
    minValue: 0,
    maxValue: 1000,
    amount: 10,
    startDate: "2024-01-01",
    endDate: "2024-12-31",
    percentage: false,
    isActive: true,
    billingMethod: null,
    externalId: null,
    ...fields,
  };
}

function pic(fields: Partial<Pic>): Pic {
  return {
    id: "p",
    name: null,
    phoneNo: null,
    email: null,
    ktp: null,
    npwp: null,
    username: null,
    isActive: true,
    createdAt: "2024-01-01 00:00:00",
    externalId: null,
    ...fields,
  };
}

function address(fields: Partial<Address>): Address {
  return {
    id: "d",
    address1: null,
    address2: null,
    subDistrict: null,
    city: null,
    province: null,
    country: null,
    postalCode: null,
    isPrimary: false,
    isActive: true,
    createdAt: "2020",
    ...fields,
  };
}

function bankAccount(fields: Partial<BankAccount>): BankAccount {
  return {
    id: "b",
    bankExternalId: null,
    accountNumber: null,
    holderName: null,
    holderFirstname: null,
    holderLastname: null,
    isActive: true,
    createdAt: "2020",
    ...fields,
  };
}
