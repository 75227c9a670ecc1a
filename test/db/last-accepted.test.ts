/** What a preview compares with: the command that the API accepted last, by its fingerprints. */
import { beforeAll, beforeEach, expect, test } from "vitest";
import type { LastAccepted } from "../../src/customer-command/difference.ts";
import { fingerprintsByPath } from "../../src/customer-command/field-fingerprints.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { createFakeApi, type FakeApi, noAnswer, rejected } from "../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

test("of an account that nobody has sent nothing is known", async () => {
  const { id } = await engine.insertAccount();

  expect(await lastAccepted(id)).toEqual(NOTHING);
});

test("a refused command does not take the place of the one before it", async () => {
  const { id } = await engine.insertAccount();
  await engine.round(api);
  const accepted = await lastAccepted(id);

  api.next(rejected());
  await engine.query("update m_account set name = 'Toko Lain' where id = $1", [id]);
  await engine.round(api);

  expect(nameIn(accepted)).toMatch(/^[0-9a-f]{4}$/);
  expect(await lastAccepted(id)).toEqual(accepted);
});

test("the next accepted one does", async () => {
  const { id } = await engine.insertAccount();
  await engine.round(api);
  const before = await lastAccepted(id);

  await engine.query("update m_account set name = 'Toko Lain' where id = $1", [id]);
  await engine.round(api);

  const after = await lastAccepted(id);
  expect(after?.fingerprint).not.toBe(before?.fingerprint);
  expect(nameIn(after)).not.toBe(nameIn(before));
});

test("without its history only the whole fingerprint is left", async () => {
  const { id } = await engine.insertAccount();
  await engine.round(api);

  await engine.query("delete from account_sync.attempt");

  expect(await lastAccepted(id)).toEqual({
    isCurrent: true,
    fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
    fieldFingerprints: null,
  });
});

test("what was accepted is not current any more while a later send is in doubt", async () => {
  const { id } = await engine.insertAccount();
  await engine.round(api);
  const accepted = await lastAccepted(id);

  api.next(noAnswer());
  await engine.query("update m_account set name = 'Toko Lain' where id = $1", [id]);
  await engine.round(api);

  expect(accepted).toMatchObject({ isCurrent: true });
  expect(await lastAccepted(id)).toEqual({ ...accepted, isCurrent: false });
});

const NOTHING: LastAccepted = { isCurrent: false, fingerprint: null, fieldFingerprints: null };

function nameIn(accepted: LastAccepted | undefined): string | undefined {
  return fingerprintsByPath(String(accepted?.fieldFingerprints))["customer.name"];
}

async function lastAccepted(id: string): Promise<LastAccepted | undefined> {
  const [row] = await engine.db.run<LastAccepted>("last_accepted", [id]);
  return row;
}
