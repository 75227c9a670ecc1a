/** A command as the sandbox accepts it: checked as a strict real API would. Pure. */
import { z } from "zod";

const text = z.string();
const blankOr = (pattern: RegExp, what: string) =>
  z.string().refine((value) => value === "" || pattern.test(value), { error: what });
const email = blankOr(/^[^\s@]+@[^\s@]+\.[^\s@]+$/, "is not an email address");
const msisdn = blankOr(/^\+[1-9]\d{5,14}$/, "is not an E.164 number");
const filled = z.string().refine((value) => value.trim() !== "", { error: "must not be blank" });
const date = z.string().regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$/, "is not a date and time");
const amount = z.number().nonnegative();
const externalId = z.string().min(1).max(255);

const address = z.looseObject({
  building: text,
  street: text,
  region: text,
  city: text,
  state: text,
  country: text,
  zip_code: text,
});

/** Loose: an installation may be configured to send a reference field of its own. */
const commandShape = z.looseObject({
  customer: z.looseObject({
    id: externalId.optional(),
    name: filled,
    email,
    msisdn,
    address,
    customer_role: filled,
    parent_id: externalId.nullable(),
    customer_type: z.literal("INDIVIDUAL"),
    ktp: text,
    npwp: text,
    deduction_active_type: z.enum(["percentage", "nominal"]).optional(),
  }),
  tier: z.array(
    z
      .looseObject({
        id: externalId.optional(),
        tier_type: z.enum(["percentage", "nominal"]),
        tier_category: z.literal("discount"),
        min_amount: amount.optional(),
        max_amount: amount.optional(),
        fee: amount.optional(),
        valid_from: date.optional(),
        valid_to: date.optional(),
      })
      .refine((tier) => (tier.min_amount ?? 0) < (tier.max_amount ?? Number.POSITIVE_INFINITY), {
        error: "min_amount must be below max_amount",
      }),
  ),
  "customer-crew": z.array(
    z.looseObject({
      id: externalId.optional(),
      ktp: text,
      npwp: text,
      name: filled,
      msisdn,
      email,
      username: text,
    }),
  ),
  "beneficiary-account": z
    .looseObject({
      firstname: filled,
      lastname: filled,
      bank: z.looseObject({ id: filled }),
      account_number: filled,
      account_name: text,
    })
    .nullable(),
  branch: z.looseObject({ id: externalId.optional(), name: filled, code: text, address }),
  "tier-assignment": z.object({ data: z.array(z.looseObject({ id: externalId })) }).optional(),
});

export type SandboxCommand = z.infer<typeof commandShape>;

/** The command, or what is wrong with it, one sentence per problem. */
export function parseSandboxCommand(
  sent: unknown,
): { readonly command: SandboxCommand } | { readonly problems: readonly string[] } {
  const parsed = commandShape.safeParse(sent);
  return parsed.success ? { command: parsed.data } : { problems: problemsOf(parsed.error, sent) };
}

/** Quotes the refused value, as real APIs do: a reader of the answer has to cope with personal data in it. */
function problemsOf(error: z.ZodError, sent: unknown): string[] {
  return error.issues.slice(0, 20).map(({ path, message }) => {
    const value = path.reduce<unknown>(
      (node, key) =>
        typeof node === "object" && node !== null ? Reflect.get(node, key) : undefined,
      sent,
    );
    const quoted = typeof value === "string" && value.trim() !== "" ? ` "${value}"` : "";
    return `${toPath(path)}${quoted} ${message}`;
  });
}

function toPath(path: readonly PropertyKey[]): string {
  return path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .replace(/^\./, "");
}
