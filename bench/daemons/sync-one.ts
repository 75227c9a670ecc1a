/**
 * What every peer does for one account, written as an application would write it on top of a job library: load the account with its
 * tiers and contact persons, send it, write the ids back. Two named statements, no journal, no validation.
 */
import pg from "pg";
import { Agent, request } from "undici";
import { type AccountData, toCommand } from "./command.ts";

export interface PeerSync {
  syncOne(accountId: string): Promise<void>;
}

/** What the product has by default (DATABASE_POOL_MAX). */
const POOL_MAX = 10;

export function createPeerSync(options: {
  readonly databaseUrl: string;
  readonly apiUrl: string;
  readonly concurrency: number;
}): PeerSync {
  const pool = new pg.Pool({ connectionString: options.databaseUrl, max: POOL_MAX });
  pool.on("error", () => {});
  const api = new CommandSender(options.apiUrl, options.concurrency);

  return {
    async syncOne(accountId) {
      const loaded = await pool.query<{ account: AccountData }>({
        name: "load",
        text: LOAD,
        values: [accountId],
      });
      const account = loaded.rows[0]?.account;
      if (account === undefined) return;

      const ids = await api.send(toCommand(account), account.uuidBe);

      await pool.query({
        name: "write-back",
        text: WRITE_BACK,
        values: [
          accountId,
          ids.customer,
          ids.branch,
          account.tiers.map(({ id }) => id),
          ids.tiers,
          account.pics.map(({ id }) => id),
          ids.crew,
        ],
      });
    },
  };
}

export class CommandSender {
  readonly #url: string;
  readonly #agent: Agent;

  constructor(apiUrl: string, concurrency: number) {
    this.#url = `${apiUrl}/api/customer/command`;
    this.#agent = new Agent({ connections: concurrency });
  }

  /** @throws Error when the answer is not a success */
  async send(command: object, externalId: string | null): Promise<AnsweredIds> {
    return await this.sendText(JSON.stringify(command), externalId);
  }

  async sendText(body: string, externalId: string | null): Promise<AnsweredIds> {
    const response = await request(externalId === null ? this.#url : `${this.#url}/${externalId}`, {
      method: externalId === null ? "POST" : "PUT",
      headers: { "content-type": "application/json" },
      body,
      dispatcher: this.#agent,
    });
    const answer = (await response.body.json()) as Answer;
    if (response.statusCode !== 200) throw new Error(`the API answered ${response.statusCode}`);
    return {
      customer: answer.customer.data.id,
      branch: answer.branch.data.id,
      tiers: answer.tier.data.map(({ id }) => id),
      crew: answer.crew.data.map(({ id }) => id),
    };
  }

  async close(): Promise<void> {
    await this.#agent.close();
  }
}

interface AnsweredIds {
  readonly customer: string;
  readonly branch: string;
  readonly tiers: readonly string[];
  readonly crew: readonly string[];
}

interface Answer {
  readonly customer: { readonly data: Identified };
  readonly branch: { readonly data: Identified };
  readonly tier: { readonly data: readonly Identified[] };
  readonly crew: { readonly data: readonly Identified[] };
}

interface Identified {
  readonly id: string;
}

const LOAD = `
  select json_build_object(
    'accountNo', a.account_no,
    'name', a.name,
    'phoneNo', a.phone_no,
    'email', a.email,
    'ktp', a.no_ktp,
    'npwp', a.no_npwp,
    'role', (select y.name from m_account_type y where y.id = a.account_type_id),
    'uuidBe', a.uuid_be,
    'branchUuidBe', a.branch_uuid_be,
    'tiers', (
      select coalesce(json_agg(json_build_object(
        'id', t.id, 'min', t.min_value, 'max', t.max_value, 'amount', t.amount, 'from', t.start_date,
        'to', t.end_date, 'percentage', t.percentage, 'uuidBe', t.uuid_be
      ) order by t.min_value, t.id), '[]')
      from m_account_package_tier t where t.account_id = a.id and t.is_active
    ),
    'pics', (
      select coalesce(json_agg(json_build_object(
        'id', p.id, 'name', p.name, 'phoneNo', p.phone_no, 'email', p.email, 'ktp', p.no_ktp, 'npwp', p.no_npwp,
        'username', p.username, 'uuidBe', p.uuid_be
      ) order by p.created_at, p.id), '[]')
      from m_account_pic p where p.account_id = a.id and p.is_active
    )
  ) as account
  from m_account a
  where a.id = $1`;

/** One statement, so one round trip and one commit: the cheapest way to write five ids. */
const WRITE_BACK = `
  with account as (
    update m_account set uuid_be = $2, branch_uuid_be = $3, updated_by = 'peer', updated_at = now() where id = $1
  ), tier as (
    update m_account_package_tier t set uuid_be = i.uuid_be, updated_by = 'peer', updated_at = now()
    from unnest($4::uuid[], $5::text[]) i(id, uuid_be) where t.id = i.id
  )
  update m_account_pic p set uuid_be = i.uuid_be, updated_by = 'peer', updated_at = now()
  from unnest($6::uuid[], $7::text[]) i(id, uuid_be) where p.id = i.id`;
