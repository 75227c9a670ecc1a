/** What a NOTIFY payload asks for. Pure; see docs: a plain id, JSON, `*`, or nothing. */
import { z } from "zod";
import { parseExactJson, toIdText } from "../exact-json.ts";

/** A manual request as one session sent it. */
export interface Notification extends NotifiedRequest {
  readonly notifierPid: number;
  readonly payload: string;
}

export interface NotifiedRequest {
  /** null: every account. */
  readonly accountId: string | null;
  readonly userId: string | null;
  readonly configId: string | null;
  readonly force: boolean;
}

export type ReadNotification =
  | { readonly kind: "wake" }
  | { readonly kind: "request"; readonly request: NotifiedRequest }
  | { readonly kind: "garbage"; readonly reason: string };

/**
 * Text that PostgreSQL stores as it is. It takes neither a zero byte nor half of a surrogate pair, which JSON can spell, and one such
 * request would fail the whole batch it is written with, for ever. `max` counts characters as PostgreSQL does.
 */
const storableText = (max: number) =>
  z
    .string()
    .refine(
      (text) => !text.includes("\0") && text.isWellFormed(),
      "characters that cannot be stored",
    )
    .refine((text) => [...text].length <= max, `more than ${max} characters`);

/** An id may be a number, where keys are numbers. */
const storableId = (max: number) =>
  z.preprocess((value) => toIdText(value) ?? value, storableText(max));

const requestShape = z.object({
  account_id: storableId(255),
  // What the source tables have room for in updated_by.
  user_id: storableText(50).nullish(),
  config_id: storableId(100).nullish(),
  force: z.boolean().default(true),
});

/** Three times the longest request there is: such payloads wait in memory while the database does not take them. */
const PAYLOAD_CHARACTERS_MAX = 2_000;

export function readNotification(
  payload: string,
  isPossibleId: (id: string) => boolean,
): ReadNotification {
  const text = payload.trim();
  if (text === "") return { kind: "wake" };
  if (text.length > PAYLOAD_CHARACTERS_MAX)
    return { kind: "garbage", reason: "it is longer than any request" };
  if (text === "*")
    return {
      kind: "request",
      request: { accountId: null, userId: null, configId: null, force: false },
    };
  if (text.startsWith("{")) return readJson(text, isPossibleId);
  if (!isPossibleId(text))
    return { kind: "garbage", reason: "it is not an id that m_account could hold" };
  return {
    kind: "request",
    request: { accountId: text, userId: null, configId: null, force: true },
  };
}

function readJson(text: string, isPossibleId: (id: string) => boolean): ReadNotification {
  let json: unknown;
  try {
    json = parseExactJson(text);
  } catch {
    return { kind: "garbage", reason: "it begins like JSON and is none" };
  }
  const request = requestShape.safeParse(json);
  if (!request.success) {
    return { kind: "garbage", reason: `its JSON is not a request: ${describe(request.error)}` };
  }
  const { account_id, user_id, config_id, force } = request.data;
  const isAll = account_id === "*";
  if (!isAll && !isPossibleId(account_id))
    return { kind: "garbage", reason: "its account_id is not an id that m_account could hold" };
  return {
    kind: "request",
    request: {
      accountId: isAll ? null : account_id,
      userId: user_id ?? null,
      configId: config_id ?? null,
      force,
    },
  };
}

/** Which fields, and what is wrong with those we have words for; never their values. */
function describe(error: z.ZodError): string {
  const complaints = error.issues.map((issue) => {
    const field = issue.path.join(".") || "the object";
    const causes = issue.code === "invalid_union" ? issue.errors.flat() : [issue];
    const words = causes.find((cause) => cause.code === "custom")?.message;
    return words === undefined ? `look at ${field}` : `${field} has ${words}`;
  });
  return [...new Set(complaints)].join(", ");
}
