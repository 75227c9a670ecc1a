/**
 * The application's tables: there, with the columns we read and write, all of their rows visible, and with the rights that takes,
 * no more.
 */
import { errorCode } from "../db/database.ts";
import { quoted } from "../db/identifier.ts";
import { findForeignOwner, findPowerlessOwner, type Installation } from "../db/installation.ts";
import { diagnoseMissingTables } from "../db/preconditions.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";

interface Expected {
  readonly table: string;
  readonly isOptional: boolean;
  /** Migrate puts triggers on it. */
  readonly isCaptured: boolean;
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** Missing in older databases; read where they exist. */
  readonly newer: readonly string[];
  /** The queries of sql/queries/ that read it when an account is loaded. */
  readonly load: string;
  /** Parameters with which it finds no row. */
  readonly loadNothing: readonly unknown[];
}

/** What the queries name. A test takes every column away, one by one, and sees whether the queries mind. */
export const EXPECTED: readonly Expected[] = [
  {
    table: "m_account",
    isOptional: false,
    isCaptured: true,
    reads: words(
      "id account_no name phone_no email account_type_id is_active no_ktp no_npwp uuid_be parentId",
    ),
    writes: words("uuid_be branch_uuid_be updated_by updated_at"),
    newer: ["branch_uuid_be"],
    load: "load_accounts",
    loadNothing: [[], 0],
  },
  {
    table: "m_account_package_tier",
    isOptional: false,
    isCaptured: true,
    reads: words(
      "id account_id min_value max_value amount start_date end_date is_active billing_method_id uuid_be",
    ),
    writes: words("uuid_be updated_by updated_at"),
    newer: ["percentage"],
    load: "load_tiers",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_account_pic",
    isOptional: false,
    isCaptured: true,
    reads: words(
      "id account_id name phone_no email no_ktp no_npwp username is_active created_at uuid_be",
    ),
    writes: words("uuid_be updated_by updated_at"),
    newer: [],
    load: "load_pics",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_account_address",
    isOptional: true,
    isCaptured: true,
    reads: words(
      "id account_id address1 address2 sub_district city province country postalcode is_primary is_active created_at",
    ),
    writes: [],
    newer: [],
    load: "load_addresses",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_account_bank",
    isOptional: true,
    isCaptured: true,
    reads: words(
      "id account_id bank_id bank_account_no bank_account_holder_name bank_account_holder_firstname bank_account_holder_lastname is_active created_at",
    ),
    writes: [],
    newer: [],
    load: "load_bank_accounts",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_bank",
    isOptional: true,
    isCaptured: true,
    reads: words("id uuid_be"),
    writes: [],
    newer: [],
    load: "load_banks",
    loadNothing: [[]],
  },
  {
    table: "m_account_type",
    isOptional: true,
    isCaptured: true,
    reads: words("id name"),
    writes: [],
    newer: [],
    load: "load_account_types",
    loadNothing: [[]],
  },
  {
    table: "m_account_billing_method",
    isOptional: true,
    isCaptured: true,
    reads: words("id method"),
    writes: [],
    newer: [],
    load: "load_billing_methods",
    loadNothing: [[]],
  },
];

const API_CONFIGS: Expected = {
  table: "m_backend_ext_config",
  isOptional: true,
  isCaptured: false,
  reads: words(
    "id name base_url token_url client_id client_secret default_scope token_expires_in additional_headers method url is_active created_at",
  ),
  writes: [],
  newer: words(
    "name token_url client_id client_secret default_scope token_expires_in additional_headers method url is_active created_at",
  ),
  load: "load_api_configs",
  loadNothing: [],
};

/** Column → the key that its values are. */
const KEYS = [
  ["m_account.parentId", "m_account.id"],
  ["m_account.account_type_id", "m_account_type.id"],
  ["m_account_package_tier.account_id", "m_account.id"],
  ["m_account_package_tier.billing_method_id", "m_account_billing_method.id"],
  ["m_account_pic.account_id", "m_account.id"],
  ["m_account_address.account_id", "m_account.id"],
  ["m_account_bank.account_id", "m_account.id"],
  ["m_account_bank.bank_id", "m_bank.id"],
] as const;

interface Found {
  readonly table: string;
  /** As in pg_class; null: there is none. */
  readonly kind: string | null;
  readonly isCaptured: boolean;
  readonly isOurs: boolean;
  readonly hidesRows: boolean;
  readonly hasRowSecurity: boolean;
  readonly mayTrigger: boolean;
  /** As they are written in SQL. */
  readonly partitionsWithoutTrigger: readonly string[];
  readonly mayAlso: readonly string[];
  readonly columns: Readonly<
    Record<
      string,
      { readonly type: string; readonly maySelect: boolean; readonly mayUpdate: boolean }
    >
  >;
}

interface Role {
  readonly name: string;
  readonly isSuperuser: boolean;
  readonly createsRoles: boolean;
  readonly createsDatabases: boolean;
  readonly replicates: boolean;
  readonly bypassesRowSecurity: boolean;
  readonly createsSchemas: boolean;
  readonly usesPublic: boolean;
  readonly hasSchema: boolean;
}

export async function lookAtSourceTables(context: CheckContext): Promise<Diagnosis[]> {
  const tables = await readTables(context);
  const findings = [
    ...findMissingTables(tables),
    ...tables.flatMap(findWrong),
    ...findUnlikeKeys(tables),
  ];
  if (findings.length > 0) return findings;

  for (const { expected, found } of tables) {
    if (found.kind === null) continue;
    const finding = await findUnreadable(context, expected);
    if (finding !== null) findings.push(finding);
  }
  return findings;
}

function findMissingTables(tables: readonly Pair[]): Diagnosis[] {
  const missing = tables
    .filter(
      ({ expected, found }) => found.kind === null && !found.isCaptured && !expected.isOptional,
    )
    .map(({ expected }) => expected.table);
  return missing.length === 0 ? [] : [diagnoseMissingTables(missing)];
}

function findWrong({ expected, found }: Pair): Diagnosis[] {
  const { table, reads, writes, newer } = expected;
  if (found.kind === null) {
    if (found.isCaptured) {
      return [
        {
          problem: `Table public.${table} was captured at the last migrate and is gone: nothing is sent, as what it held would look removed.`,
          remedy: `Bring it back and run \`account-sync migrate\`, or, if it was removed for good, say so: select account_sync.remove_capture('${table}');`,
        },
      ];
    }
    return [];
  }
  if (expected.isCaptured && !/^[rp]$/.test(found.kind)) {
    return [
      {
        problem: `public.${table} is no table, and nothing but a table can have its changes captured.`,
        remedy: `Give account-sync a database in which ${table} is the table itself.`,
      },
    ];
  }

  const missing = [...new Set([...reads, ...writes])].filter(
    (column) => found.columns[column] === undefined && !newer.includes(column),
  );
  if (missing.length === 0) return [];
  return [
    {
      problem: `Table public.${table} has no column ${missing.join(", ")}.`,
      remedy: "Run the application's own migrations, or bring the column back.",
    },
  ];
}

/** A bigint never equals a uuid: the rows of such a pair would belong to nobody. */
function findUnlikeKeys(tables: readonly Pair[]): Diagnosis[] {
  const typeOf = (path: string) => {
    const [table, column = ""] = path.split(".");
    const pair = tables.find(({ found }) => found.table === table);
    return pair?.found.columns[column]?.type;
  };

  return KEYS.flatMap(([column, key]) => {
    const [columnType, keyType] = [typeOf(column), typeOf(key)];
    if (columnType === undefined || keyType === undefined) return [];
    if (familyOf(columnType) === familyOf(keyType)) return [];
    return [
      {
        problem: `public.${column} is ${columnType}, and public.${key}, which it points to, is ${keyType}.`,
        remedy: "Give both the same type.",
      },
    ];
  });
}

function familyOf(type: string): string {
  if (/^(?:character varying|character|text|citext|varchar|bpchar)$/.test(type)) return "text";
  if (/^(?:bigint|integer|smallint|numeric)$/.test(type)) return "number";
  return type;
}

/** Whatever else keeps a query from being run, by running it for no account at all. */
async function findUnreadable(
  context: CheckContext,
  expected: Expected,
): Promise<Diagnosis | null> {
  try {
    await context.db.run(expected.load, expected.loadNothing);
    return null;
  } catch (error) {
    const code = errorCode(error) ?? "";
    // Missing rights and row security have checks of their own; an outage is nothing that the table is to blame for.
    if (code === "42501" || !code.startsWith("42")) {
      if (code === "42501") return null;
      throw error;
    }
    // Class 42 speaks of names and types, never of values.
    const said = error instanceof Error ? error.message : code;
    return {
      problem: `public.${expected.table} cannot be read: ${said}.`,
      remedy: "Give the column the type that the application's own migrations give it.",
    };
  }
}

/** As with row_security=off, which all of our sessions have: a policy that would apply is an error, whatever rows it lets through. */
export async function lookAtRowSecurity(context: CheckContext): Promise<Diagnosis[]> {
  const [tables, role] = await Promise.all([readTables(context), readRole(context)]);
  return tables
    .filter(({ found }) => found.hidesRows)
    .map(({ expected: { table }, found }) => ({
      problem: `Row security on public.${table} hides rows from role ${role.name}: it cannot be read.`,
      remedy: found.isOurs
        ? `alter table public.${table} no force row level security;`
        : `alter role ${quoted(role.name)} bypassrls;`,
    }));
}

export async function lookAtRights(context: CheckContext): Promise<Diagnosis[]> {
  const [tables, role, [installation]] = await Promise.all([
    readTables(context),
    readRole(context),
    context.db.run<Installation>("check_installation"),
  ]);
  const owner =
    installation === undefined
      ? null
      : (findForeignOwner(installation) ?? findPowerlessOwner(installation));
  return [
    ...findMissingSchemaRights(role),
    ...(owner === null ? [] : [owner]),
    ...tables.flatMap((pair) => findMissingTableRights(pair, role)),
  ];
}

function findMissingSchemaRights(role: Role): Diagnosis[] {
  const findings: Diagnosis[] = [];
  if (!role.usesPublic) {
    findings.push({
      problem: `Role ${role.name} may not use schema public.`,
      remedy: `grant usage on schema public to ${quoted(role.name)};`,
    });
  }
  if (!role.hasSchema && !role.createsSchemas) {
    findings.push({
      problem: `Role ${role.name} may not create schema account_sync.`,
      remedy: `create schema account_sync authorization ${quoted(role.name)};`,
    });
  }
  return findings;
}

function findMissingTableRights({ expected, found }: Pair, role: Role): Diagnosis[] {
  if (found.kind === null) return [];
  const { table, reads, writes, newer, isCaptured } = expected;
  const has = (column: string) => found.columns[column] !== undefined;
  const present = (columns: readonly string[]) => columns.filter(has);

  const unreadable = present([...reads, ...newer]).filter(
    (column) => found.columns[column]?.maySelect === false,
  );
  const unwritable = present(writes).filter((column) => found.columns[column]?.mayUpdate === false);
  const rights = [
    ...(unreadable.length > 0 ? [`select${columnsUnlessAll(unreadable, reads, newer)}`] : []),
    ...(unwritable.length > 0 ? [`update (${unwritable.map(quoted).join(", ")})`] : []),
    ...(isCaptured && !found.mayTrigger ? ["trigger"] : []),
  ];
  const partitions = isCaptured ? found.partitionsWithoutTrigger : [];
  const ofPartitions =
    partitions.length === 0
      ? []
      : [
          {
            problem: `Role ${role.name} lacks TRIGGER on ${partitions.length} of the partitions of public.${table}, which a grant on the table does not reach.`,
            remedy: `grant trigger on ${partitions.join(", ")} to ${quoted(role.name)};`,
          },
        ];
  if (rights.length === 0) return ofPartitions;
  return [
    ...ofPartitions,
    {
      problem: `Role ${role.name} lacks ${rights
        .join(", ")
        .toUpperCase()
        .replaceAll(/\(.*?\)/g, (columns) => columns.toLowerCase())} on public.${table}.`,
      remedy: `grant ${rights.join(", ")} on public.${table} to ${quoted(role.name)};`,
    },
  ];
}

function columnsUnlessAll(
  missing: readonly string[],
  reads: readonly string[],
  newer: readonly string[],
): string {
  const isAll = reads.every((column) => missing.includes(column) || newer.includes(column));
  return isAll ? "" : ` (${missing.map(quoted).join(", ")})`;
}

export async function lookAtExcessRights(context: CheckContext): Promise<Diagnosis[]> {
  // Nobody but us is on the embedded server, and its superuser is the only role there.
  if (context.isEmbedded) return [];
  const [tables, role] = await Promise.all([readTables(context), readRole(context)]);
  if (role.isSuperuser) {
    return [
      {
        problem: `Role ${role.name} is a superuser.`,
        remedy:
          "Give account-sync a role of its own: SELECT, TRIGGER and UPDATE of uuid_be, branch_uuid_be, updated_by, updated_at on the source tables, and a schema account_sync that it owns.",
      },
    ];
  }

  const isRowSecurityInUse = tables.some(({ found }) => found.hasRowSecurity);
  const attributes = [
    ...(role.createsRoles ? ["createrole"] : []),
    ...(role.createsDatabases ? ["createdb"] : []),
    ...(role.replicates ? ["replication"] : []),
    ...(role.bypassesRowSecurity && !isRowSecurityInUse ? ["bypassrls"] : []),
  ];
  const present = tables.filter(({ found }) => found.kind !== null);
  const owned = present.filter(({ found }) => found.isOurs).map(({ found }) => found.table);
  const writable = present.filter(({ found }) => !found.isOurs && found.mayAlso.length > 0);
  return [
    ...(attributes.length === 0
      ? []
      : [
          {
            problem: `Role ${role.name} has ${attributes.join(", ").toUpperCase()}, which account-sync has no use for.`,
            remedy: `alter role ${quoted(role.name)} ${attributes.map((attribute) => `no${attribute}`).join(" ")};`,
          },
        ]),
    ...(owned.length === 0
      ? []
      : [
          {
            problem: `Role ${role.name} owns ${owned.join(", ")} and could alter or drop ${owned.length === 1 ? "it" : "them"}.`,
            remedy:
              "A role of its own with SELECT, TRIGGER and UPDATE of uuid_be, branch_uuid_be, updated_by, updated_at on the source tables is enough.",
          },
        ]),
    ...writable.map(({ found }) => ({
      problem: `Role ${role.name} has ${found.mayAlso.join(", ")} on public.${found.table}, which account-sync has no use for.`,
      remedy: `revoke ${found.mayAlso.join(", ").toLowerCase()} on public.${found.table} from ${quoted(role.name)};`,
    })),
  ];
}

interface Pair {
  readonly expected: Expected;
  readonly found: Found;
}

async function readTables({ db, readsApiConfigs }: CheckContext): Promise<Pair[]> {
  const expected = readsApiConfigs ? [...EXPECTED, API_CONFIGS] : EXPECTED;
  const found = await db.run<Found>("check_tables", [expected.map(({ table }) => table)]);
  return expected.flatMap((one) => {
    const match = found.find(({ table }) => table === one.table);
    return match === undefined ? [] : [{ expected: one, found: match }];
  });
}

async function readRole({ db }: CheckContext): Promise<Role> {
  const [role] = await db.run<Role>("check_role");
  if (role === undefined) throw new Error("the server does not know our role");
  return role;
}

function words(text: string): readonly string[] {
  return text.split(" ");
}
