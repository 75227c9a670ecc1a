/**
 * I1 to I5 from outside: what the model API has been asked and keeps, held against the rows. Asks neither our code nor our logs, and
 * writes down a second time, in SQL, what an account's command says.
 */
import type { Customer, ModelApi, ModelRequest } from "./api.ts";
import { type Session, toInstant } from "./stage.ts";

/** What people did, for which the product is not to be blamed. */
export interface Exceptions {
  /** Whether somebody chose to have the account's create sent again without looking. */
  readonly mayHaveTwins: (code: string) => boolean;
  /** Whether a process died, drained or was stopped: what it had journaled may never have gone out. */
  readonly someoneLeft: boolean;
  /** Failures and deaths that allow a request more. */
  readonly allowances: ReadonlyMap<string, number>;
}

export interface JudgedAccount {
  readonly id: string;
  readonly code: string;
  readonly uuid: string | null;
  readonly state: "clean" | "parked" | "blocked" | "pending" | null;
  readonly errorClass: string | null;
  readonly parentUuid: string | null;
  readonly hasParent: boolean;
  readonly payload: unknown;
  readonly rows: readonly {
    readonly name: string;
    readonly uuid: string | null;
    readonly isActive: boolean;
  }[];
  readonly changes: number;
}

export async function readAccounts(judge: Session): Promise<JudgedAccount[]> {
  const rows = await judge.rows<{ account: JudgedAccount }>(ACCOUNTS);
  return rows.map(({ account }) => account);
}

/** Nothing is captured and unfolded, and every account is clean or waits for a human or a parent. */
export async function isAtRest(judge: Session, now: number): Promise<boolean> {
  const [row] = await judge.rows<{ busy: boolean }>(
    `select exists (select from account_sync.change)
       or exists (select from account_sync.expansion)
       or exists (
         select from account_sync.account q
         where q.due_at is not null
           and (q.blocked_by is null or q.lease_token is not null or q.due_at < '${toInstant(now)}'
             or exists (select from m_account p where p.id::text = q.blocked_by and p.uuid_be <> ''))
       ) as busy`,
  );
  return row?.busy === false;
}

export function judge(
  accounts: readonly JudgedAccount[],
  captured: ReadonlyMap<string | null, number>,
  echoes: number,
  api: ModelApi,
  exceptions: Exceptions,
): string[] {
  const findings: string[] = [];
  const customersOf = Map.groupBy(api.customers.values(), ({ code }) => code);
  for (const account of accounts) {
    findings.push(...judgeAccount(account, customersOf.get(account.code) ?? [], api, exceptions));
  }
  for (const [code, customers] of customersOf) {
    if (customers.length > 1 && !exceptions.mayHaveTwins(code))
      findings.push(`I3: ${code} has ${customers.length} customers`);
  }
  findings.push(...overlaps(api.requests));
  if (echoes > 0) findings.push(`I5: ${echoes} writes of ours were captured`);
  const requestsOf = Map.groupBy(api.requests, ({ code }) => code);
  for (const { id, code } of accounts) {
    const requests = requestsOf.get(code)?.length ?? 0;
    const allowed = (captured.get(id) ?? 0) + (exceptions.allowances.get(code) ?? 0) + 1;
    if (requests > allowed)
      findings.push(`I5: ${code} was sent ${requests} times, for at most ${allowed} reasons`);
  }
  return findings;
}

function judgeAccount(
  account: JudgedAccount,
  customers: readonly Customer[],
  api: ModelApi,
  { someoneLeft }: Exceptions,
): string[] {
  const findings: string[] = [];
  const { code, uuid, state, errorClass } = account;
  const customer = uuid === null ? undefined : api.customers.get(uuid);

  if (uuid !== null && api.given.get(uuid) !== `customer ${code}`)
    findings.push(`I4: ${code} has the id ${uuid}, which was given out for ${api.given.get(uuid)}`);
  for (const { name, uuid: rowId } of account.rows) {
    if (rowId !== null && api.given.get(rowId) !== name)
      findings.push(
        `I4: ${name} has the id ${rowId}, which was given out for ${api.given.get(rowId)}`,
      );
  }

  const requests = api.requests.filter((request) => request.code === code);
  switch (state) {
    case "clean":
      if (customer === undefined) findings.push(`I1: ${code} is clean and has no customer`);
      else if (!isSame(customer, account))
        findings.push(
          `I1: ${code} is clean, and the API has ${JSON.stringify(payloadOf(customer))} for ${JSON.stringify(account.payload)}`,
        );
      for (const row of account.rows) {
        if (row.uuid === null && row.isActive)
          findings.push(`I4: ${code} is clean and ${row.name} has no id`);
      }
      break;
    case "parked": {
      const isExplained =
        (errorClass === "rejected" && api.refused.has(code)) ||
        (errorClass === "incomplete" && requests.length > 0) ||
        (errorClass === "unknown_outcome" &&
          (someoneLeft ||
            requests.some((request) => request.operation === "create" && mayBeUnheard(request))));
      if (!isExplained) findings.push(`I1: ${code} is parked without a reason (${errorClass})`);
      break;
    }
    case "blocked":
      if (!account.hasParent || account.parentUuid !== null)
        findings.push(`I1: ${code} waits for a parent that has its id`);
      break;
    default:
      findings.push(`I1: ${code} was captured by nobody, or never came to rest (${state})`);
  }
  if (state !== "parked" && uuid === null && customers.length > 0 && state === "clean")
    findings.push(`I4: the id of ${code} was lost`);
  return findings;
}

/** Its sender did not hear that it was taken, or did not live to write that down. */
export function mayBeUnheard({ heard, sender, stoppedAt }: ModelRequest): boolean {
  return heard?.kind !== "accepted" || !sender.isAlive || stoppedAt !== null;
}

/** I2. What its sender was stopped with on the wire counts until then only: nobody can take it back. */
function overlaps(requests: readonly ModelRequest[]): string[] {
  const findings: string[] = [];
  for (const [code, ofOne] of Map.groupBy(requests, (request) => request.code)) {
    const inOrder = ofOne.toSorted((a, b) => a.beganAt - b.beganAt || a.number - b.number);
    for (const [index, request] of inOrder.entries()) {
      const over = request.stoppedAt ?? request.endedAt ?? Number.POSITIVE_INFINITY;
      const next = inOrder[index + 1];
      if (next !== undefined && next.beganAt < over)
        findings.push(
          `I2: ${code} was sent by ${request.sender.name} (#${request.number}) and by ${next.sender.name} (#${next.number}) at once`,
        );
    }
  }
  return findings;
}

function isSame(customer: Customer, account: JudgedAccount): boolean {
  return JSON.stringify(payloadOf(customer)) === JSON.stringify(account.payload);
}

function payloadOf({ command }: Customer): unknown {
  return {
    name: command.customer.name,
    email: command.customer.email,
    role: command.customer.customer_role,
    parent: command.customer.parent_id,
    tiers: command.tier.map((tier) => [tier.min_amount, tier.fee]),
    crew: command["customer-crew"].map((pic) => pic.name),
  };
}

const ACCOUNTS = `
  select json_build_object(
    'id', a.id,
    'code', a.account_no,
    'uuid', a.uuid_be,
    'state', case
      when q.account_id is null then null
      when q.changed_at is null then 'clean'
      when q.parked_at is not null then 'parked'
      when q.blocked_by is not null and q.lease_token is null then 'blocked'
      else 'pending'
    end,
    'errorClass', q.error_class,
    'hasParent', a."parentId" is not null,
    'parentUuid', p.uuid_be,
    'payload', json_build_object(
      'name', a.name,
      'email', a.email,
      'role', t.name,
      'parent', p.uuid_be,
      'tiers', (
        select coalesce(json_agg(json_build_array(r.min_value::float8, r.amount::float8) order by r.min_value), '[]')
        from m_account_package_tier r where r.account_id = a.id and r.is_active
      ),
      'crew', (
        select coalesce(json_agg(r.name order by r.created_at), '[]') from m_account_pic r where r.account_id = a.id
      )
    ),
    'rows', (
      select coalesce(json_agg(r), '[]')
      from (
        select 'tier ' || min_value::float8 as name, uuid_be as uuid, is_active as "isActive"
        from m_account_package_tier where account_id = a.id
        union all
        select 'pic ' || name, uuid_be, true from m_account_pic where account_id = a.id
      ) r
    )
  ) as account
  from m_account a
  left join m_account p on p.id = a."parentId"
  left join m_account_type t on t.id = a.account_type_id
  left join account_sync.account q on q.account_id = a.id::text
  order by a.id`;
