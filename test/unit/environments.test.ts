/** Everything that the repository says about settings is accepted by the product: deploy files, examples, the table of settings. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { z } from "zod";
import { knownNames, readConfig, unknownSettings } from "../../src/config.ts";
import { settings } from "../../src/settings.ts";
import {
  environmentsOf,
  listDeployFiles,
  listDocuments,
  readRepositoryFile,
} from "../support/deploy.ts";

const folder = mkdtempSync(join(tmpdir(), "account-sync-test-environments-"));

afterAll(() => rmSync(folder, { recursive: true }));

/** Read, but not ours: Node's own. */
const ours = knownNames().filter((name) => !name.startsWith("NODE_"));

describe("deploy files", () => {
  const files = listDeployFiles();

  test("are found", () => {
    expect(files).toEqual(
      expect.arrayContaining([
        ".ci/run",
        "Dockerfile",
        "README.id.md",
        "README.md",
        "deploy/postgres/account_sync_role.sql",
        "deploy/prometheus/prometheus.yml",
        "docker-compose.yml",
      ]),
    );
  });

  test.each(files)("%s has no environment that a start would refuse or warn of", (file) => {
    for (const { where, variables } of environmentsOf(file)) {
      const environment = withFiles(variables);

      expect([where, messageOf(environment)]).toEqual([where, ""]);
      expect([where, unknownSettings(environment)]).toEqual([where, []]);
    }
  });

  test("docker-compose.yml, the image and README have environments with settings", () => {
    const settingsOf = (file: string) =>
      environmentsOf(file).flatMap(({ variables }) =>
        Object.keys(variables).filter((name) => ours.includes(name)),
      );

    expect(settingsOf("Dockerfile")).toEqual(["HTTP_HOST", "HTTP_PORT", "LOG_FORMAT"]);
    expect(settingsOf("docker-compose.yml").length).toBeGreaterThan(10);
    expect(settingsOf("README.md")).toEqual(
      expect.arrayContaining(["DATABASE_URL", "CUSTOMER_API_URL"]),
    );
  });

  test.each(files.filter((file) => !file.startsWith("README")))(
    "%s sets no setting in a way that is not read here",
    (file) => {
      const read = environmentsOf(file).flatMap(({ variables }) => Object.keys(variables));
      const text = readRepositoryFile(file).replaceAll(/^\s*#.*$/gm, "");
      // A name with a value behind it, in any format. What compose and shells fill in from outside is a name without one.
      const named = ours.filter((name) =>
        new RegExp(`(?:^|[\\s"'{,])${name}["']?\\s*[:=]`, "m").test(text),
      );

      expect(named.filter((name) => !read.includes(name))).toEqual([]);
    },
  );
});

describe("examples", () => {
  const files = [...new Set([...listDeployFiles(), ...listDocuments()])];
  const examples = files.flatMap((file) => {
    const text = readRepositoryFile(file);
    return [...text.matchAll(/\b([A-Z][A-Z0-9_]+)=([^\s`'",;|)]+)/g)]
      .map(([, name = "", value = ""]) => [file, name, value.replace(/[.:]+$/, "")] as const)
      .filter(([, name]) => knownNames().includes(name));
  });
  /** Shown as what not to do. */
  const refused = ["NODE_TLS_REJECT_UNAUTHORIZED=0"];

  test("are found", () => {
    expect(examples.map(([, name, value]) => `${name}=${value}`)).toEqual(
      expect.arrayContaining(["ON_ACCOUNT_DELETE=delete", ...refused]),
    );
  });

  test.each(examples)("%s: %s=%s is accepted", (_, name, value) => {
    // What some of them need beside themselves.
    const others = {
      DATABASE_URL: "postgres://db.example.com/crm",
      CUSTOMER_API_LOOKUP_PATH: "/api/customer?code={account_no}",
      ...(name === "CUSTOMER_API_CLIENT_ID" ? { CUSTOMER_API_CLIENT_SECRET: "secret" } : {}),
      ...(name.startsWith("CUSTOMER_API_CLIENT_SECRET") ? { CUSTOMER_API_CLIENT_ID: "id" } : {}),
    };

    const message = messageOf(withFiles({ ...others, [name]: value }));

    expect(message !== "").toBe(refused.includes(`${name}=${value}`));
  });
});

describe("the table of settings", () => {
  const rows = [
    ...readRepositoryFile("docs/reference/settings.md").matchAll(/^\| (`[A-Z][A-Z_]+`.*) \|$/gm),
  ]
    .map(([, row = ""]) => row.split("|").map((cell) => cell.trim()))
    .map(([names = "", , defaults = "", meaning = ""]) => ({
      names: [...names.matchAll(/`([A-Z_]+)`/g)].map(([, name = ""]) => name),
      defaults: defaults.split(", ").map((text) => text.replaceAll("`", "").trim()),
      meaning,
    }));

  test("has every setting, and no other", () => {
    const known = ours.filter((name) => !isFileOfSecret(name));

    expect(rows.flatMap(({ names }) => names).toSorted()).toEqual(known.toSorted());
  });

  /** What is told in words, or stands for another setting. */
  const words =
    /^(?:none|embedded|any|by terminal|by outcome|DATABASE_URL|a row .*|the newest .*|\{url\}.*|park .*)$/;
  const defaults = rows.flatMap(({ names, defaults: texts }) =>
    names.flatMap((name, index) => {
      const [text = ""] = texts[index]?.split(" = ") ?? [];
      return words.test(texts[index] ?? "") ? [] : [[name, text] as const];
    }),
  );

  test("has defaults", () => {
    expect(defaults.length).toBeGreaterThan(25);
  });

  test.each(defaults)("%s is %s by default", (name, value) => {
    const database = { DATABASE_URL: "postgres://db.example.com/crm" };
    const given = readConfig({ ...database, [name]: value });
    const absent = readConfig(database);

    // The paths of requests are absent until they are set: a row of m_backend_ext_config may have others.
    const { createPath, updatePath } = given.api;
    if (name === "CUSTOMER_API_PATH") expect(createPath).toBe(value);
    else if (name === "CUSTOMER_API_UPDATE_PATH") expect(updatePath).toBe(value);
    else expect(given).toEqual(absent);
  });

  const none = rows.flatMap(({ names, defaults: [text] }) => (text === "none" ? names : []));

  test.each(none)("%s has no default", (name) => {
    const shape: Readonly<Record<string, z.ZodType>> = settings.shape;

    expect(shape[name]?.parse(undefined)).toBeUndefined();
  });

  test("says what a token for the server has to be", () => {
    const row = rows.find(({ names }) => names.includes("HTTP_TOKEN"));

    expect(messageOf({ HTTP_TOKEN: "1234567" })).toContain("at least 8 characters");
    expect(messageOf({ HTTP_TOKEN: "12345678" })).toBe("");
    expect(row?.meaning).toContain("at least 8 characters");
  });
});

test("the role of the deployment has the grants that are documented", () => {
  const [, shown = ""] =
    /^```sql\n(CREATE ROLE.*?)^```/ms.exec(documentWith(/^CREATE ROLE account_sync/m)) ?? [];
  const [, created = ""] =
    /^(CREATE ROLE.*)$/ms.exec(readRepositoryFile("deploy/postgres/account_sync_role.sql")) ?? [];
  const withoutPassword = (sql: string) => sql.replace(/PASSWORD '[^']*'/, "PASSWORD").trim();

  expect(shown).toContain("GRANT SELECT, TRIGGER");
  expect(withoutPassword(created)).toBe(withoutPassword(shown));
});

function documentWith(text: RegExp): string {
  return (
    listDocuments()
      .map(readRepositoryFile)
      .find((document) => text.test(document)) ?? ""
  );
}

/** HTTP_TOKEN_FILE is in no table: that secrets may come from files is said once. */
function isFileOfSecret(name: string): boolean {
  return name.endsWith("_FILE") && knownNames().includes(name.replace(/_FILE$/, ""));
}

/** Secrets that come from files: files with one. */
function withFiles(variables: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).map(([name, value]) => {
      if (!name.endsWith("_FILE")) return [name, value];
      const file = join(mkdtempSync(join(folder, "file-")), "secret");
      writeFileSync(file, name.includes("DATABASE_URL") ? "postgres://db/crm" : "a-long-secret");
      return [name, file];
    }),
  );
}

function messageOf(environment: Readonly<Record<string, string>>): string {
  try {
    readConfig(environment);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
