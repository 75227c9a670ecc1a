/** An account is validated before it is sent; what is found is parked, counted and journaled without personal values. */

import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { fingerprintsByPath } from "../../../src/customer-command/field-fingerprints.ts";
import { createEngine, type Engine, only, type SyncTestOptions } from "../../support/engine.ts";
import { createFakeApi, type FakeApi, noAnswer } from "../../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

describe("an account that cannot be sent", () => {
  test("is parked when it is not valid, with the fields and without the values", async () => {
    const { id } = await engine.insertAccount({ name: " ", pics: 1 });
    await engine.query("update m_account set email = 'secret@@example' where id = $1", [id]);

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "parked", errorClass: "validation", operation: null });
    const { error } = await engine.row(id);
    expect(error).toContain("customer.name");
    expect(error).toContain("customer.email");
    expect(error).not.toContain("secret");
    expect(api.requests).toEqual([]);
  });

  test("is told what is wrong in Bahasa Indonesia, where that is the language", async () => {
    const { id } = await engine.insertAccount({ name: " " });

    await engine.round(api, { policy: { language: "id" } });

    expect(await engine.row(id)).toMatchObject({
      state: "parked",
      error: "Validasi gagal: customer.name wajib diisi; branch.name wajib diisi",
    });
  });

  test("has its warnings counted, in the history too, whatever became of it", async () => {
    const { id } = await engine.insertAccount();
    const told: string[][] = [];
    const observe: SyncTestOptions["observe"] = {
      validated: ({ warnings }) => void told.push(warnings.map(({ field }) => field)),
    };

    await engine.round(api, { observe });
    await engine.change(id);
    await engine.round(api, { observe });
    await engine.rename(id, " ");
    await engine.round(api, { observe });

    const history = await engine.query(
      "select outcome, warnings from account_sync.history where account_id = $1 order by started_at",
      [id],
    );
    expect(history).toEqual([
      { outcome: "synced", warnings: 3 },
      { outcome: "unchanged", warnings: 3 },
      { outcome: "parked", warnings: 3 },
    ]);
    const fields = ["customer.address.city", "customer.address.state", "customer.customer_role"];
    expect(told).toEqual([fields, fields, fields]);
  });

  test("leaves a fingerprint of each field, by which a later one tells what changed", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });

    await engine.round(api);
    await engine.rename(id, "Toko Lain");
    await engine.round(api);

    const kept = (await engine.attempts(id)).map((row) => row["field_fingerprints"]);
    const [first = {}, second = {}] = kept.map((text) => fingerprintsByPath(String(text)));
    const changed = Object.keys(first).filter((path) => first[path] !== second[path]);
    expect(Object.keys(second)).toEqual(Object.keys(first));
    expect(Object.keys(first)).toContain("tier[0].fee");
    expect(changed.sort()).toEqual(["branch.name", "customer.name"]);
    expect(JSON.stringify([first, second])).not.toContain("Toko");
  });

  test("that is repeated after a silence takes warnings and field fingerprints along", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());

    await engine.round(api, { policy: { unknownOutcome: "resend" } });
    await engine.round(api, { policy: { unknownOutcome: "resend" } });

    const [first, second] = await engine.attempts(id);
    expect(second).toMatchObject({
      outcome: "synced",
      warnings: 3,
      field_fingerprints: first?.["field_fingerprints"],
    });
  });
});
