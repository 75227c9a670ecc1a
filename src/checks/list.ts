/** Everything that is checked, as data: by `start` before it claims anything, by the running daemon every hour, and by `doctor`. */
import type { Diagnosis } from "../operator-error.ts";
import type { Check, CheckContext } from "./check.ts";
import { lookAtEncryption, lookAtUrlParameters } from "./database-urls.ts";
import { lookAtDumpRights } from "./dump-rights.ts";
import { lookAtExcessRights } from "./excess-rights.ts";
import { lookAtMarkers } from "./markers.ts";
import { lookAtListen } from "./notification-round-trip.ts";
import { lookAtRights, lookAtRowSecurity } from "./rights.ts";
import { lookAtSequences } from "./sequences.ts";
import {
  lookAtClock,
  lookAtConnections,
  lookAtNotificationQueue,
  lookAtPreparedTransactions,
  lookAtSchemaVersion,
  lookAtServerVersion,
  lookAtServerWritable,
} from "./server.ts";
import { lookAtSourceTables } from "./table-shapes.ts";
import { lookAtTriggers } from "./triggers.ts";

export const CHECKS: readonly Check[] = [
  {
    name: "server_version",
    expectation: "the server is a version that account-sync works on",
    look: lookAtServerVersion,
  },
  {
    name: "server_writable",
    expectation: "the server takes writes and is no standby",
    look: lookAtServerWritable,
  },
  {
    name: "schema_version",
    expectation: "schema account_sync is the one of this version",
    look: lookAtSchemaVersion,
  },
  {
    name: "source_tables",
    expectation: "the source tables have the columns that are read and written",
    look: lookAtSourceTables,
  },
  {
    name: "triggers",
    expectation: "the capture triggers are present, enabled and unchanged",
    look: lookAtTriggers,
  },
  {
    name: "row_security",
    expectation: "row security hides no rows",
    look: lookAtRowSecurity,
  },
  {
    name: "rights",
    expectation: "the role has the rights it needs",
    look: lookAtRights,
  },
  {
    name: "excess_rights",
    expectation: "the role has no more rights than it needs",
    look: lookAtExcessRights,
  },
  {
    name: "listen",
    expectation: "a notification arrives at the listener",
    look: lookAtListen,
  },
  {
    name: "sequences",
    expectation: "no sequence of schema account_sync is behind its table",
    look: lookAtSequences,
  },
  {
    name: "markers",
    expectation: "no request for many accounts is set aside",
    look: lookAtMarkers,
  },
  {
    name: "api_configuration",
    expectation: "it is known where to send, and allowed",
    look: lookAtApiConfiguration,
  },
  {
    name: "notification_queue",
    expectation: "the notification queue has room",
    look: lookAtNotificationQueue,
  },
  {
    name: "prepared_transactions",
    expectation: "no prepared transaction fails because of a notification",
    look: lookAtPreparedTransactions,
  },
  {
    name: "connections",
    expectation: "there are enough connections for DATABASE_POOL_MAX",
    look: lookAtConnections,
  },
  {
    name: "dump_rights",
    expectation: "the owners of the source tables can dump the database",
    look: lookAtDumpRights,
  },
  {
    name: "clock",
    expectation: "our clock and the database's agree",
    look: lookAtClock,
  },
  {
    name: "encryption",
    expectation:
      "the connection to another machine is encrypted and verified, or has sslmode=disable",
    look: async (context) => lookAtEncryption(context),
  },
  {
    name: "url_parameters",
    expectation: "every parameter in the database's URL has an effect",
    look: async (context) => lookAtUrlParameters(context),
  },
];

async function lookAtApiConfiguration({ apiTrouble }: CheckContext): Promise<Diagnosis[]> {
  const trouble = await apiTrouble();
  if (trouble === null) return [];
  return [
    {
      problem: `It is not known where to send customers to: ${trouble}.`,
      remedy:
        "Set CUSTOMER_API_URL (and its credentials), or put a row into m_backend_ext_config that may be used.",
    },
  ];
}
