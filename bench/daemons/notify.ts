/**
 * What tutorials do: LISTEN, and handle the account of each notification, one after the other. What is notified while the daemon is down
 * is lost.
 */
import pg from "pg";
import { serveParent, setting } from "./parent.ts";
import { createPeerSync } from "./sync-one.ts";

const databaseUrl = setting("DATABASE_URL");
const sync = createPeerSync({ databaseUrl, apiUrl: setting("API_URL"), concurrency: 1 });
const listener = new pg.Client({ connectionString: databaseUrl });
const waiting: string[] = [];
let isWorking = false;

listener.on("notification", ({ payload = "" }) => {
  const { id, account_id: accountId } = JSON.parse(payload) as { id: string; account_id?: string };
  waiting.push(accountId ?? id);
  if (!isWorking) void workOff();
});
await listener.connect();
await listener.query("listen account_changed");
serveParent();

async function workOff(): Promise<void> {
  isWorking = true;
  for (let at = 0; at < waiting.length; at += 1) {
    const accountId = waiting[at];
    if (accountId !== undefined) await sync.syncOne(accountId);
  }
  waiting.length = 0;
  isWorking = false;
}
