/**
 * The application and its operators: what they write, through the real triggers, and what of it was committed. Names and amounts come
 * from a few values only, so that rows often go back to what they were. Account numbers, the ranges of tiers and the names of PICs
 * are each used once: by them the judge tells whose id is whose.
 */
import { POISON } from "./fates.ts";
import { OTHER_CONFIG } from "./replica.ts";
import type { Stage } from "./stage.ts";
import type { Tape } from "./tape.ts";

export interface SimulatedAccount {
  readonly id: string;
  readonly code: string;
}

interface Row {
  readonly id: string;
}

/** What kinds of writers there are, beside the ordinary ones. Each is the weight of what it does. */
export interface Writers {
  /** Puts ids over others, or none: saves rows as it loaded them, imports, restores. */
  readonly careless: number;
  /** Writes what the API never takes. */
  readonly poisoning: number;
  /** The part of the accounts that are meant for the other API. */
  readonly elsewhere: number;
}

interface World {
  readonly stage: Stage;
  readonly tape: Tape;
  now(): number;
  note(event: string): void;
}

const TYPES = ["00000000-0000-4000-8000-0000000000a1", "00000000-0000-4000-8000-0000000000a2"];
const NAMES = ["Toko A", "Toko B", "Toko C"];
const MAILS = ["a@example.com", "b@example.com"];

export class Application {
  readonly #world: World;
  readonly #writers: Writers;
  readonly accounts: SimulatedAccount[] = [];
  /** Account numbers that were asked to go to the other API from the first, and nothing has happened to since that could change it. */
  readonly elsewhere = new Set<string>();
  #tiers: Row[] = [];
  #pics: Row[] = [];
  #made = 0;
  /** What the open transaction will have changed, once it is committed. */
  #atCommit: (() => void)[] = [];
  isOpen = false;
  commits = 0;

  constructor(world: World, writers: Writers) {
    this.#world = world;
    this.#writers = writers;
  }

  /** One transaction of one to three statements; it may stay open. */
  async write(mayStayOpen: boolean): Promise<void> {
    const { tape } = this.#world;
    await this.#run(`begin`);
    this.isOpen = true;
    this.#atCommit = [];
    const count = 1 + tape.below(3);
    for (let written = 0; written < count; written += 1) await this.#writeOne();
    if (mayStayOpen && tape.chance(0.25))
      return this.#world.note("the application leaves its transaction open");
    await this.finish();
  }

  async finish(): Promise<void> {
    const { tape } = this.#world;
    const commits = !tape.chance(0.1);
    await this.#run(commits ? "commit" : "rollback");
    this.isOpen = false;
    this.#world.note(commits ? "the application commits" : "the application rolls back");
    if (!commits) return;
    this.commits += 1;
    for (const apply of this.#atCommit) apply();
  }

  async #writeOne(): Promise<void> {
    const { tape } = this.#world;
    const account = this.accounts.length === 0 ? null : tape.pick(this.accounts);
    if (account === null) return await this.#insertAccount();
    const writes: { readonly weight: number; readonly run: () => Promise<void> }[] = [
      { weight: 5, run: () => this.#rename(account) },
      { weight: 2, run: () => this.#insertAccount() },
      { weight: 2, run: () => this.#insertTier(account) },
      { weight: 2, run: () => this.#insertPic(account) },
      { weight: 2, run: () => this.#updateTier() },
      { weight: 1, run: () => this.#touch(account) },
      { weight: 1, run: () => this.#movePic(account) },
      { weight: 1, run: () => this.#moveTier(account) },
      { weight: 1, run: () => this.#deletePic() },
      { weight: 1, run: () => this.#adopt(account) },
      { weight: 1, run: () => this.#renameType() },
      { weight: 0.5, run: () => this.#deleteAccount(account) },
      ...this.#carelessWrites(account),
      {
        weight: this.#writers.poisoning * 2,
        run: () => this.#write(`${account.code} becomes ${POISON}`, rename(account.id, POISON)),
      },
    ];
    await tape.pickWeighted(writes.filter(({ weight }) => weight > 0)).run();
  }

  /** Such as an ORM and an import do, and whoever restores a table (careless-writers.sql). */
  #carelessWrites({ id, code }: SimulatedAccount) {
    const { tape } = this.#world;
    const weight = this.#writers.careless;
    const write = (share: number, what: string, sql: () => string) => ({
      weight: weight * share,
      run: () => this.#write(what, sql()),
    });
    const row = (rows: readonly Row[]) => (rows.length === 0 ? id : tape.pick(rows).id);
    const save = (source: string, rowId: string, changes: object) =>
      `select careless.save('loaded', '${source}', '${rowId}', '${JSON.stringify(changes)}')`;
    return [
      write(2, "everything is loaded", () => "select careless.keep('loaded')"),
      write(1, "everything is backed up", () => "select careless.keep('backup')"),
      write(3, `${code} is saved as it was loaded, with a new name`, () =>
        save("m_account", id, { name: tape.pick(NAMES) }),
      ),
      write(1, `${code} is saved as it was loaded`, () => save("m_account", id, {})),
      write(2, "a tier is saved as it was loaded", () =>
        save("m_account_package_tier", row(this.#tiers), { amount: 5 + tape.below(2) }),
      ),
      write(2, "a PIC is saved as it was loaded", () =>
        save("m_account_pic", row(this.#pics), { email: tape.pick(MAILS) }),
      ),
      write(2, `${code} is imported again`, () => `select careless.import_again('${id}')`),
      write(1, "a table is restored", () => {
        const source = tape.pick(["m_account", "m_account_package_tier", "m_account_pic"]);
        return `select careless.restore_table('${source}')`;
      }),
    ];
  }

  async #insertAccount(): Promise<void> {
    const { tape } = this.#world;
    if (this.accounts.length >= 4) return;
    const id = this.#newId();
    const code = `A${this.#made}`;
    const parent =
      this.accounts.length > 0 && tape.chance(0.3) ? tape.pick(this.accounts).id : null;
    await this.#write(
      `${code} is inserted`,
      `insert into m_account (id, account_no, name, phone_no, email, account_type_id, "parentId")
       select '${id}', '${code}', '${tape.pick(NAMES)}', '081234567890', 'a@example.com', '${tape.pick(TYPES)}', (select id from m_account where id = ${quoted(parent)})`,
    );
    this.#atCommit.push(() => this.accounts.push({ id, code }));
    if (tape.chance(this.#writers.elsewhere)) {
      if (parent === null) this.#atCommit.push(() => this.elsewhere.add(code));
      await this.#write(
        `${code} is to go to ${OTHER_CONFIG}`,
        `select account_sync.request('${id}', config_id => '${OTHER_CONFIG}')`,
      );
    }
    const account = { id, code };
    for (let tiers = tape.below(3); tiers > 0; tiers -= 1) await this.#insertTier(account);
    for (let pics = tape.below(3); pics > 0; pics -= 1) await this.#insertPic(account);
  }

  async #insertTier({ id, code }: SimulatedAccount): Promise<void> {
    const tier = { id: this.#newId() };
    const from = this.#made * 1_000;
    await this.#write(
      `${code} gets a tier ${from}`,
      `insert into m_account_package_tier (id, account_id, min_value, max_value, amount, start_date, end_date)
       select '${tier.id}', id, ${from}, ${from + 999}, 5, '2026-01-01', '2026-12-31' from m_account where id = '${id}'`,
    );
    this.#atCommit.push(() => this.#tiers.push(tier));
  }

  async #insertPic({ id, code }: SimulatedAccount): Promise<void> {
    const pic = { id: this.#newId() };
    const name = `Pic ${this.#made}`;
    await this.#write(
      `${code} gets ${name}`,
      `insert into m_account_pic (id, account_id, name, phone_no, email, username, created_at)
       select '${pic.id}', id, '${name}', '081234567890', 'a@example.com', 'pic${this.#made}', timestamp '2026-01-01' + ${this.#made} * interval '1 minute' from m_account where id = '${id}'`,
    );
    this.#atCommit.push(() => this.#pics.push(pic));
  }

  async #rename({ id, code }: SimulatedAccount): Promise<void> {
    const { tape } = this.#world;
    const [name, email] = [tape.pick(NAMES), tape.pick(MAILS)];
    await this.#write(`${code} becomes ${name}, ${email}`, rename(id, name, email));
  }

  async #touch({ id, code }: SimulatedAccount): Promise<void> {
    await this.#write(
      `${code} is saved unchanged`,
      `update m_account set updated_by = 'app' where id = '${id}'`,
    );
  }

  async #updateTier(): Promise<void> {
    const { tape } = this.#world;
    if (this.#tiers.length === 0) return;
    const { id } = tape.pick(this.#tiers);
    await this.#write(
      "a tier is changed",
      tape.chance(0.3)
        ? `update m_account_package_tier set is_active = not is_active where id = '${id}'`
        : `update m_account_package_tier set amount = ${5 + tape.below(2)} where id = '${id}'`,
    );
  }

  async #movePic({ id, code }: SimulatedAccount): Promise<void> {
    if (this.#pics.length === 0) return;
    const pic = this.#world.tape.pick(this.#pics);
    await this.#write(`a PIC moves to ${code}`, move("m_account_pic", pic.id, id));
  }

  async #moveTier({ id, code }: SimulatedAccount): Promise<void> {
    if (this.#tiers.length === 0) return;
    const tier = this.#world.tape.pick(this.#tiers);
    await this.#write(`a tier moves to ${code}`, move("m_account_package_tier", tier.id, id));
  }

  async #deletePic(): Promise<void> {
    if (this.#pics.length === 0) return;
    const { id } = this.#world.tape.pick(this.#pics);
    await this.#write("a PIC is deleted", `delete from m_account_pic where id = '${id}'`);
  }

  async #adopt({ id, code }: SimulatedAccount): Promise<void> {
    const parent = this.#world.tape.pick(this.accounts);
    // Only to an older account, so that nobody is his own ancestor.
    if (parent.id >= id) return;
    // With a parent of another API it is refused, and has to be asked for anew.
    this.#atCommit.push(() => this.elsewhere.delete(code));
    await this.#write(
      `${code} becomes a child of ${parent.code}`,
      `update m_account set "parentId" = (select p.id from m_account p where p.id = '${parent.id}') where id = '${id}'`,
    );
  }

  async #renameType(): Promise<void> {
    const { tape } = this.#world;
    const id = tape.pick(TYPES);
    await this.#write(
      "an account type is renamed",
      `update m_account_type set name = '${tape.pick(["branch", "parent", "child"])}' where id = '${id}'`,
    );
  }

  async #deleteAccount({ id, code }: SimulatedAccount): Promise<void> {
    // Restored from a backup it is an account that was never asked for.
    this.#atCommit.push(() => this.elsewhere.delete(code));
    await this.#write(
      `${code} is deleted`,
      `update m_account set "parentId" = null where "parentId" = '${id}';
       delete from m_account_pic where account_id = '${id}';
       delete from m_account where id = '${id}'`,
    );
  }

  async #write(what: string, sql: string): Promise<void> {
    this.#world.note(`app: ${what}`);
    await this.#run(sql);
  }

  async #run(sql: string): Promise<void> {
    const { application } = this.#world.stage;
    application.setTime(this.#world.now());
    await application.script(sql);
  }

  #newId(): string {
    this.#made += 1;
    return `00000000-0000-4000-8000-${String(this.#made).padStart(12, "0")}`;
  }
}

function rename(id: string, name: string, email: string | null = null): string {
  const mail = email === null ? "" : `email = '${email}', `;
  return `update m_account set name = '${name}', ${mail}updated_by = 'app' where id = '${id}'`;
}

/** To an account of another API, or of none yet, it goes without its id, which names another row there. */
function move(table: string, rowId: string, accountId: string): string {
  const home = (owner: string) =>
    `(select 'at ' || coalesce(config_id, 'the default') from account_sync.id_mapping where account_id = ${owner} and entity = 'account')`;
  return `
    delete from careless.kept where id = '${rowId}';
    update ${table} r set
      account_id = a.id,
      uuid_be = case when ${home("a.id::text")} = ${home("r.account_id::text")} then r.uuid_be end
    from m_account a where a.id = '${accountId}' and r.id = '${rowId}'`;
}

function quoted(text: string | null): string {
  return text === null ? "null" : `'${text}'`;
}
