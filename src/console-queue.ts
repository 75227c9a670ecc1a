/** The queue as the console sees it, from the first moment: until the daemon is connected each question fails. */
import type { AccountStatus, ConsoleQueue, HistoryRow } from "./console/api.ts";
import type { Asker } from "./queue/sending.ts";
import { findSending, type Wiring } from "./wiring.ts";

export function consoleQueueOn(
  wiring: () => Wiring | null,
  asker: () => Asker | null,
): ConsoleQueue {
  const opened = () => {
    const now = wiring();
    if (now === null) throw new Error("not connected yet");
    return now;
  };
  return {
    status: async () => await opened().inspector.status(),
    sending: async () => await findSending(opened(), asker()),
    accounts: async (page) => await opened().inspector.accounts<AccountStatus>(page),
    account: async (id) => await opened().inspector.account<AccountStatus, HistoryRow>(id),
    request: async (id, how) => await opened().queue.request([id], how),
    retry: async (which) => {
      const { length } = await opened().queue.retry({
        ids: "ids" in which ? which.ids : null,
        errorClass: "errorClass" in which ? which.errorClass : null,
        discard: which.discard === true,
      });
      return length;
    },
    adopt: async (id, externalId) => await opened().queue.adopt(id, externalId),
    forget: async (id, rows) => await opened().queue.forgetIds(id, rows),
  };
}
