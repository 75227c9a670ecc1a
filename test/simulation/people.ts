/**
 * People of a history: they ask for accounts, decide over what waits, and help in the end. They call the SQL functions, as a person at a
 * psql prompt does, and look at the APIs before they decide. What they chose without looking is noted, since the product is not to blame.
 */
import { createQueue } from "../../src/queue/queue.ts";
import type { Customer, ModelApi } from "./api.ts";
import type { Application, SimulatedAccount } from "./application.ts";
import { POISON } from "./fates.ts";
import type { JudgedAccount } from "./judge.ts";
import { OTHER_CONFIG, type Settings } from "./replica.ts";
import type { Stage } from "./stage.ts";
import type { Tape } from "./tape.ts";

interface World {
  readonly stage: Stage;
  readonly tape: Tape;
  readonly apis: readonly ModelApi[];
  apiOf(configId: string | null): ModelApi;
  now(): number;
  note(event: string): void;
  surprise(what: string): void;
}

/** What a decision may be refused with: it is being synced, another account has the id, it is gone. */
const REFUSALS: ReadonlySet<string> = new Set(["55006", "23505", "P0002"]);

export class People {
  readonly #world: World;
  readonly #application: Application;
  readonly #settings: Settings;
  /** How often a request more is allowed, by account number. */
  readonly asked = new Map<string, number>();
  /** Account numbers of which a create was to go out again without a look at the API. */
  readonly sentBlindly = new Set<string>();
  /** How often the ids of an account were forgotten, by account number. */
  readonly forgotten = new Map<string, number>();

  constructor(world: World, application: Application, settings: Settings) {
    this.#world = world;
    this.#application = application;
    this.#settings = settings;
  }

  /** Of one account, sometimes with a configuration that is not its own. */
  async ask(): Promise<void> {
    const account = this.#someAccount();
    if (account === null) return;
    const { tape } = this.#world;
    const force = tape.chance(0.7);
    const elsewhere = tape.chance(0.2) ? `, config_id => '${OTHER_CONFIG}'` : "";
    // To ask for an account that waits for a decision is one.
    if (force) this.sentBlindly.add(account.code);
    await this.#call(account, `request('${account.id}', force => ${force}${elsewhere})`);
  }

  async retryBlindly(): Promise<void> {
    this.#world.note("a person retries whatever is parked");
    for (const { code } of this.#application.accounts) {
      this.sentBlindly.add(code);
      count(this.asked, code);
    }
    await this.#queue().retry({ ids: null, errorClass: null });
  }

  /** One of the four decisions, over one account: with a look at the API, as the messages say. */
  async decide(): Promise<void> {
    const account = this.#someAccount();
    if (account === null) return;
    const { tape } = this.#world;
    const sent = await this.#readUnfinished(account.id);
    const customers = this.#customersOf(account.code);
    const isQuiet = !this.#world.apis.some((api) => api.mayYetApply(account.code));
    const adoptable = this.#adoptable(account, sent);

    const decision = tape.pickWeighted([
      { weight: 1, name: "retry" },
      // "It was not applied" is known only of what is not there and cannot come any more; of an update, of what is over.
      {
        weight: isQuiet && (customers.length === 0 || sent?.operation !== "create") ? 2 : 0,
        name: "discard",
      },
      { weight: adoptable === null ? 0 : 4, name: "adopt" },
      { weight: isQuiet ? 0.3 : 0, name: "forget" },
    ]);
    switch (decision.name) {
      case "retry":
        this.sentBlindly.add(account.code);
        await this.#call(account, `retry('${account.id}')`);
        break;
      case "discard":
        await this.#call(account, `retry('${account.id}', discard => true)`);
        break;
      case "adopt":
        await this.#call(account, `adopt('${account.id}', '${adoptable?.id}')`);
        break;
      default:
        await this.#forget(account);
    }
  }

  async #forget(account: SimulatedAccount): Promise<void> {
    if (!(await this.#call(account, `forget('${account.id}')`))) return;
    count(this.forgotten, account.code);
    await this.#world.stage.application.script(`select careless.forget_kept('${account.id}')`);
    // The next sync makes the customer anew: to forget alone asks for none. Sometimes that is how an account moves to the other API.
    const elsewhere = this.#world.tape.chance(0.5) ? `, config_id => '${OTHER_CONFIG}'` : "";
    await this.#call(account, `request('${account.id}'${elsewhere})`);
  }

  /** Corrects what no API takes, decides over what waits, and puts everything back. */
  async help(accounts: readonly JudgedAccount[]): Promise<void> {
    this.#world.note("somebody helps");
    await this.#script(
      `update m_account set name = 'Toko A' where name = '${POISON}';
       update m_account set "parentId" = null where id in (
         select a.id from m_account a join account_sync.account q on q.account_id = a.id::text
         where q.parked_at is not null and q.error_class = 'validation')`,
    );
    for (const account of accounts) {
      if (account.state !== "parked") continue;
      count(this.asked, account.code);
      const sent = await this.#readUnfinished(account.id);
      const adoptable = this.#adoptable(account, sent);
      if (adoptable !== null)
        await this.#call(account, `adopt('${account.id}', '${adoptable.id}')`);
      else if (sent !== null) await this.#call(account, `retry('${account.id}', discard => true)`);
    }
    await this.#queue().retry({ ids: null, errorClass: null });
  }

  /** The customer that the account's unfinished create has made. */
  #adoptable({ code }: Pick<SimulatedAccount, "code">, sent: Unfinished | null): Customer | null {
    if (sent === null || sent.operation !== "create" || sent.hasId) return null;
    const { customers } = this.#world.apiOf(sent.configId);
    const made = [...customers.values()].filter((customer) => customer.code === code);
    // Those of before were forgotten on purpose.
    return made.length > (this.forgotten.get(code) ?? 0) ? (made.at(-1) ?? null) : null;
  }

  #customersOf(code: string): Customer[] {
    return this.#world.apis.flatMap(({ customers }) =>
      [...customers.values()].filter((customer) => customer.code === code),
    );
  }

  async #readUnfinished(id: string): Promise<Unfinished | null> {
    const [sent = null] = await this.#world.stage.judge.rows<Unfinished>(
      `select t.operation, t.config_id as "configId",
         exists (select from m_account a where a.id = '${id}' and a.uuid_be is not null)
           or exists (select from account_sync.id_mapping m where m.account_id = '${id}' and m.entity = 'account') as "hasId"
       from account_sync.attempt t where t.account_id = '${id}' and t.settled_at is null and t.delivery <> 'answered'`,
    );
    return sent;
  }

  #someAccount(): SimulatedAccount | null {
    const { accounts } = this.#application;
    return accounts.length === 0 ? null : this.#world.tape.pick(accounts);
  }

  /** Resolves with whether it was done; a refusal is told to the person. */
  async #call(account: SimulatedAccount, call: string): Promise<boolean> {
    count(this.asked, account.code);
    this.#world.note(`a person, for ${account.code}: ${call}`);
    try {
      await this.#script(`select account_sync.${call}`);
      return true;
    } catch (error) {
      const { code = "", message } = error as { readonly code?: string; readonly message: string };
      if (REFUSALS.has(code)) this.#world.note(`refused: ${message}`);
      else this.#world.surprise(`${call}: ${code} ${message}`);
      return false;
    }
  }

  async #script(sql: string): Promise<void> {
    const { application } = this.#world.stage;
    application.setTime(this.#world.now());
    await application.script(sql);
  }

  #queue() {
    const { judge } = this.#world.stage;
    judge.setTime(this.#world.now());
    const db = { ...judge.db, close: async () => {} };
    return createQueue({
      db,
      relaxedDb: db,
      maxWaitMs: 5_000,
      now: () => this.#world.now(),
      ...this.#settings,
    });
  }
}

interface Unfinished {
  readonly operation: "create" | "update" | "delete";
  readonly configId: string | null;
  /** The account has an id already, so that there is nothing to adopt. */
  readonly hasId: boolean;
}

function count(counts: Map<string, number>, code: string): void {
  counts.set(code, (counts.get(code) ?? 0) + 1);
}
