/** What a NOTIFY payload asks for. Pure; see docs: a plain id, JSON, `*`, or nothing. */
import { z } from "zod";

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

const requestShape = z.object({
  account_id: z.union([z.string().min(1), z.number().transform(String)]),
  user_id: z.string().nullish(),
  config_id: z.string().nullish(),
  force: z.boolean().default(true),
});

export function readNotification(
  payload: string,
  isPossibleId: (id: string) => boolean,
): ReadNotification {
  const text = payload.trim();
  if (text === "") return { kind: "wake" };
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
    json = JSON.parse(text);
  } catch {
    return { kind: "garbage", reason: "it begins like JSON and is none" };
  }
  const request = requestShape.safeParse(json);
  if (!request.success) {
    const fields = request.error.issues.map((issue) => issue.path.join(".") || "the object");
    return {
      kind: "garbage",
      reason: `its JSON is not a request: look at ${[...new Set(fields)].join(", ")}`,
    };
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
