/**
 * What the answer to a lookup says: whether the customer that a create was sent for is there. Pure.
 *
 * Both mistakes are costly. A customer taken for ours may be another account's, so it must have exactly the account number (or the
 * reference) that was sent. A wrong "not there" makes a second customer, so the answer must say it: with a 404 that is about a
 * customer, or with a complete list without it. Everything else is unclear and left to a person.
 */
import { isSameId, toComparableId } from "../same-id.ts";
import { type CustomerAnswer, EMPTY_ANSWER, readAnswer } from "./answer.ts";
import { errorMessages } from "./error-messages.ts";
import { isJsonObject, type JsonObject, parseJson } from "./json.ts";

/** The customer that is looked for, as the create was sent. */
export interface WantedCustomer {
  /** `branch.code` of the create; blank when the account has none. */
  readonly accountNo: string;
  readonly accountId: string;
  /** The field in which the API echoes our ids; null when it does not. */
  readonly referenceField: string | null;
}

export type Found =
  | { readonly kind: "none" }
  | { readonly kind: "one"; readonly answer: CustomerAnswer }
  /** More than one, or nothing that is understood. `reason` contains no text of the API. */
  | { readonly kind: "unclear"; readonly reason: string };

export interface LookupAnswer {
  readonly status: number;
  readonly text: string;
  /** The `Link` header: some lists say only there that there is a next page. */
  readonly link: string | null;
}

/** null when a success contains no JSON: cut off, or the page of a gateway. Nothing is known then, and it may pass by itself. */
export function readLookup(answer: LookupAnswer, wanted: WantedCustomer): Found | null {
  if (answer.status === 204) return NONE;

  const json = parseJson(answer.text);
  if (answer.status === 404) return readNotFound(json);
  return json === undefined ? null : readSuccess(json, answer.link, wanted);
}

/**
 * A wrong path gets a 404, too, also in JSON ("Not Found"). Taken for "not there" it would make a second customer of every create, so
 * only a 404 that mentions a customer counts.
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

/** In English and Bahasa Indonesia, also within a code: CUSTOMER_NOT_FOUND. */
const CUSTOMER_WORDS = /customer|account|pelanggan|nasabah|akun/i;
const ROUTER_WORDS =
  /\broutes?\b|\bcannot get\b|\bno static resource\b|\bpage not found\b|\bendpoints?\b/i;

function readSuccess(json: unknown, link: string | null, wanted: WantedCustomer): Found {
  const listed = listIn(json);
  if (listed === null) return unclear("it names no customer, and does not say that there is none");
  if (isPage(listed, link)) {
    return unclear(
      `it lists ${listed.items.length} customers and may go on; CUSTOMER_API_LOOKUP_PATH must find by the exact number`,
    );
  }

  const candidates = listed.items.map((item) => toListedCustomer(item, wanted));
  const ours = candidates.filter(({ whose }) => whose === "ours");
  const [one] = ours;
  if (one !== undefined) {
    const ids = new Set(ours.map(({ id }) => toComparableId(id)));
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
  /** The objects around the items: they may say that there are more. */
  readonly wrappings: readonly JsonObject[];
  readonly isList: boolean;
}

/** `[…]`, `{data: […]}`, `{data: {data: […]}}`, or one customer instead of such a list. */
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

/** Pages of real APIs have ten customers or more; a shorter list is complete unless it says otherwise. */
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

interface ListedCustomer {
  readonly answer: CustomerAnswer;
  readonly id: string | null;
  readonly whose: Whose;
}

/** `related`: another account's, as an inexact search for our number finds it. */
type Whose = "ours" | "respelled" | "related" | "unrelated";

function toListedCustomer(row: unknown, wanted: WantedCustomer): ListedCustomer {
  const item = isJsonObject(row) ? row : {};
  const answer = toAnswer(item);
  const [customer] = answer.customer.items;
  const [branch] = answer.branch.items;
  const objects = [branch?.raw, item, customer?.raw];

  const branchCode = textAt(branch?.raw, "code");
  const numbers =
    branchCode === null ? objects.flatMap((object) => textsAt(object, NUMBER_KEYS)) : [branchCode];
  const references = objects.flatMap((object) => textsAt(object, [wanted.referenceField]));
  return { answer, id: customer?.id ?? null, whose: whoseIs(numbers, references, wanted) };
}

/** The keys under which the number that was sent as `branch.code` comes back. */
const NUMBER_KEYS = ["code", "account_no", "accountNo"];

function whoseIs(
  numbers: readonly string[],
  references: readonly string[],
  wanted: WantedCustomer,
): Whose {
  const ourNumber = wanted.accountNo.trim();
  const hasOurNumber = ourNumber !== "" && numbers.includes(ourNumber);
  const isOurs =
    references.length > 0
      ? references.every((reference) => isSameId(reference, wanted.accountId))
      : hasOurNumber;
  if (isOurs) return "ours";

  if (ourNumber === "") return "unrelated";
  // With our number, but not ours by its reference, it is another account's.
  if (hasOurNumber) return "related";
  const bareNumber = toBareNumber(ourNumber);
  if (numbers.some((number) => toBareNumber(number) === bareNumber)) return "respelled";
  const lowerCased = ourNumber.toLowerCase();
  return numbers.some((number) => number.toLowerCase().includes(lowerCased))
    ? "related"
    : "unrelated";
}

/** Without what APIs change in a number: case, separators, leading zeros. */
function toBareNumber(number: string): string {
  return number
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]/gu, "")
    .replace(/^0+/, "");
}

/** A listed customer has the form of an answer to a command, or is the customer itself with its branch, tier and crew inside. */
function toAnswer(item: JsonObject): CustomerAnswer {
  const read = readAnswer(item);
  if (read?.customer.present === true) return read;
  return readAnswer({ ...item, customer: { data: item } }) ?? EMPTY_ANSWER;
}

function textsAt(
  object: JsonObject | undefined,
  keys: readonly (string | null)[],
): readonly string[] {
  return keys.map((key) => textAt(object, key)).filter((text) => text !== null);
}

function textAt(object: JsonObject | undefined, key: string | null): string | null {
  const value = key === null ? undefined : object?.[key];
  if (typeof value !== "string" && typeof value !== "number") return null;
  const text = String(value).trim();
  return text === "" ? null : text;
}

const NONE: Found = { kind: "none" };

function unclear(reason: string): Found {
  return { kind: "unclear", reason };
}
