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
  /** Whether the account was asked to go to the other API, and never forgotten. */
  readonly isElsewhere: (code: string) => boolean;
  /** How often somebody forgot the account's ids, each time for a customer more. */
  readonly forgotten: (code: string) => number;
  /** Failures and deaths that allow a request more. */
  readonly allowances: ReadonlyMap<string, number>;
}

export interface JudgedAccount {
  readonly id: string;
  readonly code: string;
  /** Where the row has none the one of the mapping: to clear an id and nothing else is no change, and it comes back with the next one. */
  readonly uuid: string | null;
  /** As the id mapping has it; null where it has none. */
  readonly mapped: { readonly id: string; readonly configId: string | null } | null;
  readonly parentHome: string | null;
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
             or exists (select from m_account p where p.id::text = q.blocked_by and p.uuid_be <> '')
             or exists (select from account_sync.id_mapping m where m.account_id = q.blocked_by and m.entity = 'account'))
       ) as busy`,
  );
  return row?.busy === false;
}

export function judge(
  accounts: readonly JudgedAccount[],
  captured: ReadonlyMap<string | null, number>,
  echoes: number,
  apis: readonly ModelApi[],
  exceptions: Exceptions,
): string[] {
  const findings: string[] = [];
  const requests = apis.flatMap((api) => api.requests);
  for (const account of accounts) findings.push(...judgeAccount(account, apis, exceptions));
  for (const { configId, customers, overwritten } of apis) {
    findings.push(...overwritten.map((what) => `I4: ${what}`));
    for (const [code, made] of Map.groupBy(customers.values(), (customer) => customer.code)) {
      if (made.length > 1 + exceptions.forgotten(code) && !exceptions.mayHaveTwins(code))
        findings.push(`I3: ${code} has ${made.length} customers at ${configId ?? "the default"}`);
      if (configId === null && exceptions.isElsewhere(code) && exceptions.forgotten(code) === 0)
        findings.push(`I4: ${code} has a customer at the default API, and was to go to the other`);
    }
  }
  findings.push(...judgeMoves(apis, exceptions));
  findings.push(...overlaps(requests));
  if (echoes > 0) findings.push(`I5: ${echoes} writes of ours were captured`);
  const requestsOf = Map.groupBy(requests, ({ code }) => code);
  for (const { id, code } of accounts) {
    const sent = requestsOf.get(code)?.length ?? 0;
    const allowed = (captured.get(id) ?? 0) + (exceptions.allowances.get(code) ?? 0) + 1;
    if (sent > allowed)
      findings.push(`I5: ${code} was sent ${sent} times, for at most ${allowed} reasons`);
  }
  return findings;
}

/** I3: customers of one account at both APIs, though its ids were never forgotten. */
function judgeMoves(apis: readonly ModelApi[], { forgotten, mayHaveTwins }: Exceptions): string[] {
  const [one = new Set<string>(), other = new Set<string>()] = apis.map(
    ({ customers }) => new Set([...customers.values()].map(({ code }) => code)),
  );
  return [...one]
    .filter((code) => other.has(code) && forgotten(code) === 0 && !mayHaveTwins(code))
    .map((code) => `I3: ${code} has customers at two APIs`);
}

function judgeAccount(
  account: JudgedAccount,
  apis: readonly ModelApi[],
  { someoneLeft }: Exceptions,
): string[] {
  const findings: string[] = [];
  const { code, uuid, mapped, state, errorClass } = account;
  const homes = apis.filter(({ given }) => given.get(uuid ?? "") === `customer ${code}`);
  const home = homes.find(({ configId }) => configId === mapped?.configId) ?? homes[0];
  const customer = home?.customers.get(uuid ?? "");

  if (uuid !== null && home === undefined)
    findings.push(`I4: ${code} has the id ${uuid}, which was not given out for it`);
  if (state === "clean" && (mapped?.id !== uuid || mapped?.configId !== home?.configId))
    findings.push(
      `I4: ${code} has the id ${uuid} of ${home?.configId}, and is mapped to ${mapped?.id} of ${mapped?.configId}`,
    );
  for (const { name, uuid: rowId } of account.rows) {
    const owner = home?.given.get(rowId ?? "");
    if (rowId !== null && home !== undefined && owner !== name)
      findings.push(`I4: ${name} has the id ${rowId}, which was given out for ${owner}`);
  }

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
    case "parked":
      if (!isExplained(account, apis, someoneLeft))
        findings.push(`I1: ${code} is parked without a reason (${errorClass})`);
      break;
    case "blocked":
      if (!account.hasParent || account.parentUuid !== null)
        findings.push(`I1: ${code} waits for a parent that has its id`);
      break;
    default:
      findings.push(`I1: ${code} was captured by nobody, or never came to rest (${state})`);
  }
  return findings;
}

/** An account that is parked counts as lost, unless a fault of the API, a death, or a body that the API never takes explains it. */
function isExplained(
  { code, errorClass, hasParent, mapped, parentHome }: JudgedAccount,
  apis: readonly ModelApi[],
  someoneLeft: boolean,
): boolean {
  const requests = apis.flatMap((api) => api.requests).filter((request) => request.code === code);
  switch (errorClass) {
    case "rejected":
      return apis.some(({ refused }) => refused.has(code));
    case "incomplete":
      return requests.length > 0;
    case "unknown_outcome":
      return (
        someoneLeft ||
        requests.some((request) => request.operation === "create" && mayBeUnheard(request))
      );
    case "server": {
      const failed = requests.filter(
        ({ heard }) => heard?.kind === "failed" && heard.failure.httpStatus === 500,
      );
      return failed.length >= ALIKE_TRIES;
    }
    case "validation":
      // One that was never sent may have been meant for either.
      return hasParent && (mapped === null || mapped.configId !== parentHome);
    default:
      return false;
  }
}

/** So often a 5xx is tried, as the documentation says. */
const ALIKE_TRIES = 5;

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
    'uuid', coalesce(a.uuid_be, (
      select m.external_id from account_sync.id_mapping m where m.account_id = a.id::text and m.entity = 'account'
    )),
    'mapped', (
      select json_build_object('id', m.external_id, 'configId', m.config_id)
      from account_sync.id_mapping m where m.account_id = a.id::text and m.entity = 'account'
    ),
    'parentHome', pm.config_id,
    'state', case
      when q.account_id is null then null
      when q.changed_at is null then 'clean'
      when q.parked_at is not null then 'parked'
      when q.blocked_by is not null and q.lease_token is null then 'blocked'
      else 'pending'
    end,
    'errorClass', q.error_class,
    'hasParent', a."parentId" is not null,
    'parentUuid', coalesce(p.uuid_be, pm.external_id),
    'payload', json_build_object(
      'name', a.name,
      'email', a.email,
      'role', t.name,
      'parent', coalesce(p.uuid_be, pm.external_id),
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
        select 'tier ' || r.min_value::float8 as name, coalesce(r.uuid_be, m.external_id) as uuid, r.is_active as "isActive"
        from m_account_package_tier r
        left join account_sync.id_mapping m on m.account_id = a.id::text and m.entity = 'tier' and m.row_id = r.id::text
        where r.account_id = a.id
        union all
        select 'pic ' || r.name, coalesce(r.uuid_be, m.external_id), true
        from m_account_pic r
        left join account_sync.id_mapping m on m.account_id = a.id::text and m.entity = 'pic' and m.row_id = r.id::text
        where r.account_id = a.id
      ) r
    )
  ) as account
  from m_account a
  left join m_account p on p.id = a."parentId"
  -- A parent may wait for a person while its row has lost its id.
  left join account_sync.id_mapping pm on pm.account_id = p.id::text and pm.entity = 'account'
  left join m_account_type t on t.id = a.account_type_id
  left join account_sync.account q on q.account_id = a.id::text
  order by a.id`;
