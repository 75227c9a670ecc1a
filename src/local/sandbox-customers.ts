/**
 * What the sandbox API knows: its customers, the ids it gave out and the answers it gave to idempotency keys, kept in a JSON
 * file if asked to. Knows nothing of HTTP.
 *
 * Like the real API it is not idempotent by itself: two creates under different keys make two customers, also for one account.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { z } from "zod";

export interface SandboxCustomer {
  readonly id: string;
  readonly branchId: string;
  /** `branch.code`, the account number. */
  readonly code: string;
  readonly tiers: readonly SandboxItem[];
  readonly crew: readonly SandboxItem[];
  /** The last command that was accepted. */
  readonly command: unknown;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Commands accepted for it, the create included. */
  readonly revision: number;
}

interface SandboxItem {
  readonly id: string;
  /** As it was sent. */
  readonly item: Readonly<Record<string, unknown>>;
}

export interface SandboxAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface SandboxCustomers {
  list(): SandboxCustomer[];
  get(id: string): SandboxCustomer | undefined;
  findByCode(code: string): SandboxCustomer[];
  create(command: unknown): SandboxAnswer & { readonly customer?: SandboxCustomer };
  update(id: string, command: unknown): SandboxAnswer & { readonly customer?: SandboxCustomer };
  remove(id: string): boolean;
  /** What was answered to this key before: nothing, the same request, or another one. */
  recall(key: string, fingerprint: string): SandboxAnswer | null | "other request";
  remember(key: string, fingerprint: string, answer: SandboxAnswer): void;
  clear(): void;
  /** Resolves once everything so far is in the file; at once without a file. */
  saved(): Promise<void>;
}

/** One request's identity for its idempotency key: method, path and exact body. */
export function fingerprintOf(method: string, path: string, text: string): string {
  return createHash("sha256").update(`${method} ${path}\n${text}`).digest("base64url");
}

const KEYS_MAX = 50_000;

export async function openSandboxCustomers(dataFile: string | null): Promise<SandboxCustomers> {
  const customers = new Map<string, SandboxCustomer>();
  const keys = new Map<string, { fingerprint: string; answer: SandboxAnswer }>();

  if (dataFile !== null) {
    const data = await readData(dataFile);
    for (const customer of data.customers) customers.set(customer.id, customer);
    for (const [key, entry] of data.keys) keys.set(key, entry);
  }

  // Changes that come while a write runs share the next one, so a thousand creates are a few writes.
  let writing: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  let dirty = false;

  async function write(): Promise<void> {
    if (dataFile === null) return;
    dirty = false;
    const text = JSON.stringify({ customers: [...customers.values()], keys: [...keys] });
    await mkdir(dirname(dataFile), { recursive: true });
    await writeFile(`${dataFile}.new`, text, { mode: 0o600 });
    // Renamed, so that a kill in the middle leaves the old file whole.
    await rename(`${dataFile}.new`, dataFile);
  }

  async function saved(): Promise<void> {
    if (dataFile === null) return;
    if (writing !== null) {
      next ??= writing
        .catch(() => undefined)
        .then(() => {
          next = null;
          return saved();
        });
      return next;
    }
    if (!dirty) return;

    writing = write().finally(() => {
      writing = null;
    });
    return writing;
  }

  function keep(customer: SandboxCustomer): SandboxCustomer {
    customers.set(customer.id, customer);
    dirty = true;
    return customer;
  }

  return {
    list: () => [...customers.values()],
    get: (id) => customers.get(id),
    findByCode: (code) => [...customers.values()].filter((customer) => customer.code === code),

    create(command) {
      const parsed = commandShape.safeParse(command);
      if (!parsed.success) return refuse(problemsOf(parsed.error, command));
      const problems = parentProblems(parsed.data, customers);
      if (problems.length > 0) return refuse(problems);

      const at = new Date().toISOString();
      const customer = keep({
        id: newId("cus"),
        branchId: newId("brn"),
        code: parsed.data.branch.code,
        tiers: parsed.data.tier.map((item) => ({ id: newId("tier"), item })),
        crew: parsed.data["customer-crew"].map((item) => ({ id: newId("crew"), item })),
        command,
        createdAt: at,
        updatedAt: at,
        revision: 1,
      });
      return { status: 201, body: answerOf(customer, false), customer };
    },

    update(id, command) {
      const known = customers.get(id);
      if (known === undefined) return { status: 404, body: { error: `customer ${id} not found` } };

      const parsed = commandShape.safeParse(command);
      if (!parsed.success) return refuse(problemsOf(parsed.error, command));
      const { tier, "customer-crew": crew, branch } = parsed.data;
      const problems = [
        ...parentProblems(parsed.data, customers),
        ...unknownIds("tier", tier, known.tiers),
        ...unknownIds("customer-crew", crew, known.crew),
      ];
      if (problems.length > 0) return refuse(problems);

      const customer = keep({
        ...known,
        code: branch.code,
        tiers: tier.map((item) => ({ id: item.id ?? newId("tier"), item })),
        crew: crew.map((item) => ({ id: item.id ?? newId("crew"), item })),
        command,
        updatedAt: new Date().toISOString(),
        revision: known.revision + 1,
      });
      return { status: 200, body: answerOf(customer, false), customer };
    },

    remove(id) {
      dirty = true;
      return customers.delete(id);
    },

    recall(key, fingerprint) {
      const entry = keys.get(key);
      if (entry === undefined) return null;
      return entry.fingerprint === fingerprint ? entry.answer : "other request";
    },

    remember(key, fingerprint, answer) {
      keys.set(key, { fingerprint, answer });
      dirty = true;
      for (const oldest of keys.keys()) {
        if (keys.size <= KEYS_MAX) break;
        keys.delete(oldest);
      }
    },

    clear() {
      customers.clear();
      keys.clear();
      dirty = true;
    },

    saved,
  };
}

/** The success answer; with `echo` every item comes back as it was sent, else the ids alone. */
export function answerOf(customer: SandboxCustomer, echo: boolean): Record<string, unknown> {
  const sent = customer.command as { customer: object; branch: object };
  const item = ({ id, item }: SandboxItem) => (echo ? { ...item, id } : { id });
  return {
    success: true,
    customer: { data: { ...(echo ? sent.customer : {}), id: customer.id } },
    branch: { data: { ...(echo ? sent.branch : {}), id: customer.branchId } },
    tier: { data: customer.tiers.map(item) },
    crew: { data: customer.crew.map(item) },
  };
}

function newId(kind: "cus" | "brn" | "tier" | "crew"): string {
  return `${kind}_${randomBytes(9).toString("base64url").replaceAll(/[-_]/g, "0")}`;
}

function refuse(problems: readonly string[]): SandboxAnswer {
  return {
    status: 422,
    body: { success: false, error: problems.map((message) => ({ message })) },
  };
}

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

/** Loose: an installation may be told to send a reference field of its own. */
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

type Command = z.infer<typeof commandShape>;

/** Quotes the value it did not like, as real APIs do: whoever reads the answer has to cope with that. */
function problemsOf(error: z.ZodError, command: unknown): string[] {
  return error.issues.slice(0, 20).map(({ path, message }) => {
    const value = path.reduce<unknown>(
      (node, key) =>
        typeof node === "object" && node !== null ? Reflect.get(node, key) : undefined,
      command,
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

function parentProblems(command: Command, customers: ReadonlyMap<string, unknown>): string[] {
  const parentId = command.customer.parent_id;
  if (parentId === null || customers.has(parentId)) return [];
  return [`customer.parent_id ${parentId} is not a customer`];
}

function unknownIds(
  section: string,
  items: readonly { readonly id?: string | undefined }[],
  known: readonly SandboxItem[],
): string[] {
  const ids = new Set(known.map(({ id }) => id));
  return items.flatMap(({ id }, index) =>
    id === undefined || ids.has(id)
      ? []
      : [`${section}[${index}].id ${id} is not one of this customer's`],
  );
}

/** Trusted once its outline fits: nobody but us writes this file. */
const dataShape = z.object({
  customers: z.array(
    z.custom<SandboxCustomer>((value) => (value as SandboxCustomer | null)?.id !== undefined),
  ),
  keys: z.array(
    z.tuple([z.string(), z.object({ fingerprint: z.string(), answer: z.custom<SandboxAnswer>() })]),
  ),
});

async function readData(dataFile: string): Promise<z.infer<typeof dataShape>> {
  let content: string;
  try {
    content = await readFile(dataFile, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { customers: [], keys: [] };
    throw error;
  }

  try {
    return dataShape.parse(JSON.parse(content));
  } catch (error) {
    throw new Error(`${dataFile} is not a file of the sandbox API; move it away to start afresh`, {
      cause: error,
    });
  }
}
