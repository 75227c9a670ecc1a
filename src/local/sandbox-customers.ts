/**
 * The sandbox's customers and the ids that it gave out, in memory. Knows nothing of HTTP.
 *
 * Like the real API it is not idempotent by itself: two creates under different keys make two customers, also for one account.
 */
import { randomBytes } from "node:crypto";
import { parseSandboxCommand, type SandboxCommand } from "./sandbox-command.ts";

export interface SandboxCustomer {
  readonly id: string;
  readonly branchId: string;
  /** `branch.code`, the account number. */
  readonly code: string;
  readonly tiers: readonly SandboxItem[];
  readonly crew: readonly SandboxItem[];
  /** Each account number that a command was accepted with, in order: more than one where an update was meant for another customer. */
  readonly codes: readonly string[];
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
  lookUp(code: string | null): SandboxAnswer;
  create(sent: unknown): SandboxAnswer;
  update(id: string, sent: unknown): SandboxAnswer;
  remove(id: string): SandboxAnswer;
  clear(): void;
}

export function createSandboxCustomers(
  initial: readonly SandboxCustomer[],
  options: {
    readonly echo: boolean;
    readonly numbersIds: boolean;
    readonly onChanged: () => void;
  },
): SandboxCustomers {
  const { echo, onChanged } = options;
  const newId = createIds(options.numbersIds);
  const customers = new Map(initial.map((customer) => [customer.id, customer]));

  function keep(status: number, customer: SandboxCustomer): SandboxAnswer {
    customers.set(customer.id, customer);
    onChanged();
    return { status, body: toBody(customer, echo) };
  }

  return {
    list: () => [...customers.values()],
    get: (id) => customers.get(id),

    lookUp(code) {
      const found = [...customers.values()].filter((customer) => customer.code === code);
      const [only] = found;
      if (only === undefined) return { status: 404, body: { error: "no customer has this code" } };
      if (found.length > 1) {
        return { status: 409, body: { error: `${found.length} customers have this code` } };
      }
      return { status: 200, body: toBody(only, true) };
    },

    create(sent) {
      const parsed = parseSandboxCommand(sent);
      if ("problems" in parsed) return refuse(parsed.problems);
      const { command } = parsed;
      const problems = parentProblems(command, customers);
      if (problems.length > 0) return refuse(problems);

      const at = new Date().toISOString();
      return keep(201, {
        id: newId("cus"),
        branchId: newId("brn"),
        code: command.branch.code,
        tiers: command.tier.map((item) => ({ id: newId("tier"), item })),
        crew: command["customer-crew"].map((item) => ({ id: newId("crew"), item })),
        codes: [command.branch.code],
        command: sent,
        createdAt: at,
        updatedAt: at,
        revision: 1,
      });
    },

    update(id, sent) {
      const known = customers.get(id);
      if (known === undefined) return { status: 404, body: { error: `customer ${id} not found` } };

      const parsed = parseSandboxCommand(sent);
      if ("problems" in parsed) return refuse(parsed.problems);
      const { tier, "customer-crew": crew, branch } = parsed.command;
      const problems = [
        ...parentProblems(parsed.command, customers),
        ...unknownIds("tier", tier, known.tiers),
        ...unknownIds("customer-crew", crew, known.crew),
      ];
      if (problems.length > 0) return refuse(problems);

      return keep(200, {
        ...known,
        code: branch.code,
        tiers: tier.map((item) => ({ id: item.id ?? newId("tier"), item })),
        crew: crew.map((item) => ({ id: item.id ?? newId("crew"), item })),
        codes: [...new Set([...(known.codes ?? [known.code]), branch.code])],
        command: sent,
        updatedAt: new Date().toISOString(),
        revision: known.revision + 1,
      });
    },

    remove(id) {
      const wasKnown = customers.delete(id);
      if (!wasKnown) return { status: 404, body: { error: "no such customer" } };
      onChanged();
      return { status: 200, body: { success: true } };
    },

    clear() {
      customers.clear();
      onChanged();
    },
  };
}

/** The answer to an accepted command; with `echo` every item comes back as it was sent, otherwise only the ids. */
function toBody(customer: SandboxCustomer, echo: boolean): Record<string, unknown> {
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

function createIds(areNumbers: boolean): (kind: "cus" | "brn" | "tier" | "crew") => string {
  const given = new Map<string, number>();
  return (kind) => {
    const ordinal = (given.get(kind) ?? 0) + 1;
    given.set(kind, ordinal);
    const distinct = areNumbers
      ? ordinal
      : randomBytes(9).toString("base64url").replaceAll(/[-_]/g, "0");
    return `${kind}_${distinct}`;
  };
}

function refuse(problems: readonly string[]): SandboxAnswer {
  return {
    status: 422,
    body: { success: false, error: problems.map((message) => ({ message })) },
  };
}

function parentProblems(
  command: SandboxCommand,
  customers: ReadonlyMap<string, unknown>,
): string[] {
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
