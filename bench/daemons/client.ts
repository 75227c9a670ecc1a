/**
 * The limit: the HTTP client alone. Commands are built before the clock runs, and nothing is read from or written to a database, so no
 * contender with this client can be faster.
 */
import { type AccountData, toCommand } from "./command.ts";
import { serveParent, setting } from "./parent.ts";
import { CommandSender } from "./sync-one.ts";

const concurrency = Number(setting("CONCURRENCY"));
const accounts = Number(setting("ACCOUNTS"));
const sender = new CommandSender(setting("API_URL"), concurrency);
const bodies = Array.from({ length: accounts }, (_, index) =>
  JSON.stringify(toCommand(makeAccount(index + 1))),
);
let next = 0;

serveParent();
await Promise.all(Array.from({ length: concurrency }, sendOneAfterAnother));

async function sendOneAfterAnother(): Promise<void> {
  for (let body = bodies[next++]; body !== undefined; body = bodies[next++]) {
    await sender.sendText(body, null);
  }
}

function makeAccount(n: number): AccountData {
  const no = String(n).padStart(7, "0");
  return {
    accountNo: `A${no}`,
    name: `Toko Melati ${n}`,
    phoneNo: `08120${no}`,
    email: `toko${n}@melati.example`,
    ktp: `31710000${no}`,
    npwp: `00000000${no}`,
    role: "branch",
    uuidBe: null,
    branchUuidBe: null,
    tiers: [0, 1].map((index) => ({
      id: `${n}-${index}`,
      min: index * 1_000_000,
      max: (index + 1) * 1_000_000 - 1,
      amount: 2.5,
      from: "2026-01-01",
      to: "2035-12-31",
      percentage: true,
      uuidBe: null,
    })),
    pics: [1, 2].map((index) => ({
      id: `${n}-${index}`,
      name: `Siti Contohwati ${index}`,
      phoneNo: `0813${no}${index}`,
      email: `pic${index}-toko${n}@melati.example`,
      ktp: `31710000${no}`,
      npwp: null,
      username: `siti${index}${no}`,
      uuidBe: null,
    })),
  };
}
