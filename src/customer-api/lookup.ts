/**
 * What the answer to a lookup says: is the customer there that a create was sent for? Pure.
 *
 * Both mistakes are dear. A customer taken for ours may be another account's, so it has to carry the very account number (or the very
 * reference) that was sent. And a "not there" that only means that nobody searched makes a second customer, so it has to be said: by a
 * 404 that speaks of a customer, or by a whole list that does not hold it. Everything else is unclear, and left to a human.
 */
import { type CustomerAnswer, EMPTY_ANSWER, readAnswer } from "./answer.ts";
import { errorMessages } from "./error-messages.ts";
import { isJsonObject, type JsonObject, parseJson } from "./json.ts";

/** What the create was sent with, and what is looked for. */
export interface Wanted {
  /** `branch.code` of the create; blank when the account has none. */
  readonly accountNo: string;
  readonly accountId: string;
  /** Where the API keeps our ids, if it does. */
  readonly referenceField: string | null;
}

export type Found =
  | { readonly kind: "none" }
  | { readonly kind: "one"; readonly answer: CustomerAnswer }
  /** More than one, or nothing that can be understood. `reason` holds no word of the API. */
  | { readonly kind: "unclear"; readonly reason: string };

export interface LookupAnswer {
  readonly status: number;
  readonly text: string;
  /** The `Link` header: some lists say only there that they go on. */
  readonly link: string | null;
}

/** null when a success holds no JSON: cut off, or the page of some gateway. Then nothing is known, and it may pass. */
export function readLookup(answer: LookupAnswer, wanted: Wanted): Found | null {
  if (answer.status === 204) return NONE;

  const json = parseJson(answer.text);
  if (answer.status === 404) return readNotFound(json);
  return json === undefined ? null : readSuccess(json, answer.link, wanted);
}

/**
 * Also what a wrong path gets, and frameworks say that in JSON too ("Not Found"). Taken for "not there" it would double every create, so
 * only one that speaks of what was looked for counts.
 */
function readNotFound(json: unknown): Found {
  const messages = [...errorMessages(json), isJsonObject(json) ? (textAt(json, "code") ?? "") : ""];
  const isAboutCustomer =
    messages.some((message) => CUSTOMER_WORDS.test(message)) &&
    !messages.some((message) => ROUTER_WORDS.test(message));
  return isAboutCustomer
    ? NONE
    : unclear(
        "this 404 does not speak of a customer and may be about the path; check CUSTOMER_API_LOOKUP_PATH",
      );
}

/** Also in Bahasa Indonesia, and as a code: CUSTOMER_NOT_FOUND. */
const CUSTOMER_WORDS = /customer|account|pelanggan|nasabah|akun/i;
const ROUTER_WORDS =
  /\broutes?\b|\bcannot get\b|\bno static resource\b|\bpage not found\b|\bendpoints?\b/i;

function readSuccess(json: unknown, link: string | null, wanted: Wanted): Found {
  const listed = listIn(json);
  if (listed === null) return unclear("it names no customer, and does not say that there is none");
  if (isPage(listed, link)) {
    return unclear(
      `it lists ${listed.items.length} customers and may go on; CUSTOMER_API_LOOKUP_PATH must find by the exact number`,
    );
  }

  const candidates = listed.items.map((item) => toCandidate(item, wanted));
  const ours = candidates.filter(({ whose }) => whose === "ours");
  const [one] = ours;
  if (one !== undefined) {
    const ids = new Set(ours.map(({ id }) => id));
    if (ids.has(null)) return unclear("the customer it found has no usable id");
    return ids.size === 1
      ? { kind: "one", answer: one.answer }
      : unclear(`${ids.size} customers carry this account number`);
  }
  if (candidates.some(({ whose }) => whose === "respelled")) {
    return unclear(
      "it found the account number in another spelling: ours as the API writes it, or another customer's",
    );
  }
  if (candidates.some(({ whose }) => whose === "unrelated")) {
    return unclear(
      `it lists ${candidates.length === 1 ? "a customer" : `${candidates.length} customers`} without the number asked for; CUSTOMER_API_LOOKUP_PATH does not search by it`,
    );
  }
  return NONE;
}

interface Listed {
  readonly items: readonly unknown[];
  /** Everything around the items that may say that there are more. */
  readonly wrappings: readonly JsonObject[];
  readonly isList: boolean;
}

/** `[…]`, `{data: […]}`, `{data: {data: […]}}`, or one customer in the place of such a list. */
function listIn(json: unknown): Listed | null {
  const wrappings: JsonObject[] = [];
  let layer = json;
  while (wrappings.length < 3) {
    if (Array.isArray(layer)) return { items: layer, wrappings, isList: true };
    if (!isJsonObject(layer) || layer["success"] === false) return null;
    const data = layer["data"];
    const isWrapping =
      typeof data === "object" && data !== null && !isJsonObject(layer["customer"]);
    if (!isWrapping) return isCustomer(layer) ? { items: [layer], wrappings, isList: false } : null;
    wrappings.push(layer);
    layer = data;
  }
  return null;
}

function isCustomer(item: JsonObject): boolean {
  return toAnswer(item).customer.items.some(({ id }) => id !== null);
}

/** Pages in the field hold ten customers or more; a shorter list that does not say otherwise is whole. */
const WHOLE_LIST_MAX = 9;

function isPage({ items, wrappings, isList }: Listed, link: string | null): boolean {
  if (!isList) return false;
  const facts = wrappings.flatMap((layer) => [layer, ...Object.values(layer).filter(isJsonObject)]);
  return (
    items.length > WHOLE_LIST_MAX ||
    /rel="?next/i.test(link ?? "") ||
    facts.some((fact) => saysThereIsMore(fact, items.length))
  );
}

function saysThereIsMore(fact: JsonObject, listed: number): boolean {
  return Object.entries(fact).some(([name, value]) => {
    const key = name.toLowerCase().replaceAll(/[_-]/g, "");
    if (TOTALS.has(key)) return Number(value) > listed;
    if (PAGES.has(key)) return Number(value) > 1;
    return NEXTS.has(key) && value !== null && value !== false && value !== "";
  });
}

const TOTALS = new Set(["total", "totalcount", "totalelements", "totalitems", "totalrecords"]);
const PAGES = new Set(["lastpage", "totalpages", "pages"]);
const NEXTS = new Set(["next", "nextpage", "nextpageurl", "nextcursor", "nextlink", "hasmore"]);

interface Candidate {
  readonly answer: CustomerAnswer;
  readonly id: string | null;
  /** `related`: what an inexact search for our number finds, and another account's. */
  readonly whose: "ours" | "respelled" | "related" | "unrelated";
}

function toCandidate(row: unknown, wanted: Wanted): Candidate {
  const item = isJsonObject(row) ? row : {};
  const answer = toAnswer(item);
  const id = answer.customer.items[0]?.id ?? null;
  const places = [answer.branch.items[0]?.raw, item, answer.customer.items[0]?.raw].filter(
    (place) => place !== undefined,
  );

  const [branch] = answer.branch.items;
  const sentAs = textAt(branch?.raw, "code");
  const numbers =
    sentAs !== null
      ? [sentAs]
      : places
          .flatMap((place) => NUMBER_KEYS.map((key) => textAt(place, key)))
          .filter((text) => text !== null);
  const ourNumber = wanted.accountNo.trim();
  const hasOurNumber = ourNumber !== "" && numbers.includes(ourNumber);

  const references = places
    .map((place) => textAt(place, wanted.referenceField))
    .filter((text) => text !== null);
  const isOurs =
    references.length > 0
      ? references.every((reference) => reference === wanted.accountId)
      : hasOurNumber;
  if (isOurs) return { answer, id, whose: "ours" };

  if (ourNumber === "") return { answer, id, whose: "unrelated" };
  // Our very number, and yet not ours by its reference, is another account's for sure.
  const isRespelled =
    !hasOurNumber && numbers.some((number) => toBareNumber(number) === toBareNumber(ourNumber));
  if (isRespelled) return { answer, id, whose: "respelled" };
  const isHit = numbers.some((number) => number.toLowerCase().includes(ourNumber.toLowerCase()));
  return { answer, id, whose: isHit ? "related" : "unrelated" };
}

/** Without what APIs change about a number: case, separators, leading zeros. */
function toBareNumber(number: string): string {
  return number
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]/gu, "")
    .replace(/^0+/, "");
}

/** A listed customer has the form of an answer to a command, or is the customer itself with the rest inside. */
function toAnswer(item: JsonObject): CustomerAnswer {
  const read = readAnswer(item);
  if (read?.customer.present === true) return read;
  return readAnswer({ ...item, customer: { data: item } }) ?? EMPTY_ANSWER;
}

/** Where the number stands that was sent as `branch.code`. */
const NUMBER_KEYS = ["code", "account_no", "accountNo"];

function textAt(place: JsonObject | undefined, key: string | null): string | null {
  const value = key === null ? undefined : place?.[key];
  if (typeof value !== "string" && typeof value !== "number") return null;
  const text = String(value).trim();
  return text === "" ? null : text;
}

const NONE: Found = { kind: "none" };

function unclear(reason: string): Found {
  return { kind: "unclear", reason };
}
