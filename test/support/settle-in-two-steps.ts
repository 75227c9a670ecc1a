/**
 * A database that refuses to settle a send whose answer is not in the journal yet. The daemon journals an answer in the transaction that settles
 * its account; where that fails, alone and before anything else. Here it always does the second, so that a test can stop it in between.
 */
import type { TestDatabase } from "./postgres.ts";

export async function settleInTwoSteps({ query }: Pick<TestDatabase, "query">): Promise<void> {
  await query(`
    create function refuse_to_settle() returns trigger language plpgsql as $$
    begin
      raise exception 'refused by a test' using errcode = '23514';
    end
    $$;
    create trigger refuse_to_settle
    before update on account_sync.attempt
    for each row
    when (old.settled_at is null and new.settled_at is not null and old.received is null and new.received is not null)
    execute function refuse_to_settle();
  `);
}
