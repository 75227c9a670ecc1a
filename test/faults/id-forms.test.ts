/**
 * F49: the API's ids in the forms in which the field has them. The sandbox gives its own; a server before it translates them, and the
 * judge is told what was given out.
 */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { type ApiWitness, audit } from "../support/audit.ts";
import { recordFault } from "../support/evidence.ts";
import { type Front, startFront } from "../support/front.ts";
import { createProduct, type Product } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

test("F49 ids that are JSON numbers beyond 2^53: every digit is kept, in the rows and in the requests", async () => {
  // One apart: as JavaScript numbers every second one would be its neighbour.
  const { product, front, witness } = await createParts({
    nextId: (count) => String(9_007_199_254_740_993n + BigInt(count)),
    toJson: (id) => id,
  });
  await product.start({ CUSTOMER_API_URL: front.url });

  const parent = await insertAccount(product.database, { accountNo: "A-0" });
  const ids = [parent];
  for (let n = 1; n < 8; n += 1)
    ids.push(await insertAccount(product.database, { accountNo: `A-${n}`, parentId: parent }));
  await untilAtRest(product.database);
  await product.database.query("update m_account set name = 'Renamed'");
  const recoveryMs = await untilAtRest(product.database);

  const { byOperation } = product.sandbox.counts();
  expect([byOperation.create, byOperation.update]).toEqual([8, 8]);
  expect((await externalIds(product.database, parent)).account).toBe("9007199254740993");
  const found = await audit(product.database, witness);
  expect(found).toEqual(FLAWLESS);
  recordFault("F49", found, { tries: ids.length, recoveryMs });
});

test("F49 GUIDs in another letter case at every answer: no conflict, no second request, and the rows keep what they have", async () => {
  const { product, front, witness } = await createParts({
    nextId: () => crypto.randomUUID(),
    // As it was given out at first; then in capitals, and so on.
    toJson: (id, times) => JSON.stringify(times % 2 === 0 ? id : id.toUpperCase()),
    meant: (id) => id.toLowerCase(),
  });
  const daemon = await product.start({ CUSTOMER_API_URL: front.url });
  const parent = await insertAccount(product.database, { accountNo: "A-0" });
  const child = await insertAccount(product.database, { accountNo: "A-1", parentId: parent });
  await untilAtRest(product.database);
  const first = [
    await externalIds(product.database, parent),
    await externalIds(product.database, child),
  ];

  for (let round = 0; round < 3; round += 1) {
    await product.database.query("update m_account set name = $1", [`Renamed ${round}`]);
    await untilAtRest(product.database);
  }

  const { byOperation } = product.sandbox.counts();
  expect([byOperation.create, byOperation.update]).toEqual([2, 6]);
  expect(await daemon.metric("id_conflicts_total")).toBe(0);
  expect([
    await externalIds(product.database, parent),
    await externalIds(product.database, child),
  ]).toEqual(first);
  const found = await audit(product.database, witness);
  expect(found).toEqual(FLAWLESS);
  recordFault("F49", found, { tries: 6, recoveryMs: null });
});

interface IdForm {
  /** The id that the API gives in the place of the sandbox's, which is its `count`th. */
  readonly nextId: (count: number) => string;
  /** How it stands in an answer, after so many answers with it before. */
  readonly toJson: (id: string, times: number) => string;
  /** The id that is meant by what a request holds. */
  readonly meant?: (id: string) => string;
}

async function createParts(form: IdForm) {
  const product: Product = await createProduct();
  const front = await startFront(product.sandbox.url);
  const translation = createTranslation(form);
  translateOver(front, translation);
  const witness: ApiWitness = {
    ...product.sandbox,
    customers: () => JSON.parse(translation.toGiven(JSON.stringify(product.sandbox.customers()))),
  };
  return { product, front, witness };
}

function translateOver(front: Front, { toAnswer, toOwn }: ReturnType<typeof createTranslation>) {
  front.rewrite = (answer) => ({ ...answer, body: toAnswer(answer.body) });
  front.resay = toOwn;
  front.route = (path) =>
    path.replace(/[^/]+$/, (last) => toOwn(`"${decodeURIComponent(last)}"`).slice(1, -1));
}

function createTranslation({ nextId, toJson, meant = (id) => id }: IdForm) {
  const timesOf = new Map<string, number>();
  const givenOf = new Map<string, string>();
  const ownOf = new Map<string, string>();
  const give = (own: string): string => {
    const given = givenOf.get(own) ?? nextId(givenOf.size);
    givenOf.set(own, given);
    ownOf.set(given, own);
    return given;
  };
  const translate = (text: string, spell: (given: string) => string) =>
    text.replaceAll(/"((?:cus|brn|tier|crew)_\w{12})"/g, (_, own: string) => spell(give(own)));

  return {
    toAnswer: (text: string) =>
      translate(text, (given) => {
        const times = timesOf.get(given) ?? 0;
        timesOf.set(given, times + 1);
        return toJson(given, times);
      }),
    toGiven: (text: string) => translate(text, JSON.stringify),
    toOwn: (text: string) =>
      text.replaceAll(/"([^"\\]*)"/g, (whole, given: string) => {
        const own = ownOf.get(meant(given));
        return own === undefined ? whole : JSON.stringify(own);
      }),
  };
}
