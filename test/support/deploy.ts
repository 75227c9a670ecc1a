/** The files by which the product is deployed, and the environments in them: what a process gets that is started as they say. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DockerfileParser } from "dockerfile-ast";
import { parse, parseAllDocuments } from "yaml";

const root = fileURLToPath(new URL("../../", import.meta.url));

export interface DeployedEnvironment {
  /** File, and the block in it. */
  readonly where: string;
  readonly variables: Readonly<Record<string, string>>;
}

interface ComposeService {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly env_file?: unknown;
  readonly volumes?: readonly string[];
}

/** Of a secret that a file only points to. */
const UNKNOWN_VALUE = "a-value-from-elsewhere";

type Read = (file: string) => DeployedEnvironment[];

const READERS: readonly (readonly [files: RegExp, read: Read])[] = [
  [/(?:^|\/)(?:docker-)?compose[^/]*\.ya?ml$/, readComposeFile],
  [/(?:^|\/)Dockerfile[^/]*$/, readDockerfile],
  [/(?:^|\/)README[^/]*\.md$/, readShellBlocks],
  [/^\.ci\/run$|\.sh$/, readShellScript],
  // Of other programs, which are configured by the files themselves.
  [/^deploy\/(?:prometheus|grafana)\/.*\.(?:ya?ml|json)$/, () => []],
  [/^deploy\/.*\.sql$/, () => []],
  [/^deploy\/.*\.ya?ml$/, readManifests],
];

/** Everything by which the product, or a part of it, may be started, as far as names tell. */
const DEPLOY_FILES =
  /^(?:deploy|\.ci|\.github|charts?|helm|k8s|kubernetes)\/|(?:^|\/)(?:[^/]*compose[^/]*\.ya?ml|Dockerfile[^/]*|Containerfile[^/]*|README[^/]*|\.env[^/]*|Procfile|[^/]*\.(?:env|service|tf|hcl|nomad|sh))$/;

/** Those of the repository, and those that are about to be added to it. */
export function listDeployFiles(): string[] {
  return listFiles().filter((file) => DEPLOY_FILES.test(file));
}

/** README and what is in docs/, in English. */
export function listDocuments(): string[] {
  return listFiles().filter((file) => /^(?:README|docs\/.*)\.md$/.test(file));
}

/** @throws where there is no way to read such a file */
export function environmentsOf(file: string): DeployedEnvironment[] {
  const reader = READERS.find(([files]) => files.test(file));
  if (reader === undefined) throw new Error(`no test reads the environments of ${file}`);
  return reader[1](file);
}

export function readRepositoryFile(file: string): string {
  return readFileSync(root + file, "utf8");
}

/** A service of docker-compose.yml with its whole environment, the image's included. */
export function composeService(name: string) {
  const service = composeServices("docker-compose.yml")[name];
  if (service === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return {
    command: service.command ?? [],
    volumes: service.volumes ?? [],
    environment: {
      ...(service.image.startsWith("account-sync:") ? imageEnvironment("Dockerfile") : {}),
      ...toStrings(service.environment ?? {}),
    },
  };
}

function readComposeFile(file: string): DeployedEnvironment[] {
  return Object.entries(composeServices(file)).flatMap(([name, service]) => {
    if (service.env_file !== undefined) throw new Error(`${file}: no test reads an env_file`);
    if (!service.image.startsWith("account-sync:")) return [];
    const variables = {
      ...imageEnvironment("Dockerfile"),
      ...toStrings(service.environment ?? {}),
    };
    return [{ where: `${file}, ${name}`, variables }];
  });
}

function composeServices(file: string): Readonly<Record<string, ComposeService>> {
  const { services } = parse(readRepositoryFile(file), { merge: true }) as {
    readonly services: Readonly<Record<string, ComposeService>>;
  };
  return services;
}

/** With the defaults of `${NAME:-default}`. */
function toStrings(environment: Readonly<Record<string, string | number>>) {
  if (Array.isArray(environment)) throw new Error("an environment is written as a map");
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [
      name,
      String(value).replaceAll(/\$\{\w+:-([^}]*)\}/g, "$1"),
    ]),
  );
}

function readDockerfile(file: string): DeployedEnvironment[] {
  return [{ where: `${file}, ENV`, variables: imageEnvironment(file) }];
}

function imageEnvironment(file: string): Record<string, string> {
  const properties = DockerfileParser.parse(readRepositoryFile(file))
    .getENVs()
    .flatMap((env) => env.getProperties());
  return Object.fromEntries(
    properties.map((property) => [property.getName(), property.getValue() ?? ""]),
  );
}

/** Each block of shell commands is one environment. */
function readShellBlocks(file: string): DeployedEnvironment[] {
  const blocks = readRepositoryFile(file).matchAll(/^```(?:sh|bash|shell)\n(.*?)^```/gms);
  return [...blocks].map(([, text = ""], index) => ({
    where: `${file}, shell block ${index + 1}`,
    variables: assignmentsIn(text),
  }));
}

function readShellScript(file: string): DeployedEnvironment[] {
  return [{ where: file, variables: assignmentsIn(readRepositoryFile(file)) }];
}

/** Exported, or in front of a command. Without quotes. */
function assignmentsIn(text: string): Record<string, string> {
  const lines = text.split("\n").filter((line) => /^\s*(?:export\s|[A-Z][A-Z0-9_]*=)/.test(line));
  const assignments = lines.flatMap((line) => [
    ...line.matchAll(/(?:^|\s)([A-Z][A-Z0-9_]*)=("[^"]*"|'[^']*'|\S*)/g),
  ]);
  return Object.fromEntries(
    assignments.map(([, name = "", value = ""]) => [name, value.replaceAll(/^["']|["']$/g, "")]),
  );
}

/**
 * Kubernetes: `env` of containers, and the data of ConfigMaps and Secrets that containers take whole. As one environment, as a container
 * takes them together.
 */
function readManifests(file: string): DeployedEnvironment[] {
  const blocks = parseAllDocuments(readRepositoryFile(file)).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(`${file} is no YAML`);
    return findBlocks(document.toJS());
  });
  return [{ where: file, variables: Object.assign({}, ...blocks) }];
}

function findBlocks(value: unknown): Record<string, string>[] {
  if (Array.isArray(value)) return value.flatMap(findBlocks);
  if (typeof value !== "object" || value === null) return [];
  const node = value as Readonly<Record<string, unknown>>;
  const own: Record<string, string>[] = [];
  if (Array.isArray(node["env"])) {
    own.push(
      Object.fromEntries(
        node["env"].map(({ name, value: text }) => [name, String(text ?? UNKNOWN_VALUE)]),
      ),
    );
  }
  if (node["kind"] === "ConfigMap") own.push({ ...(node["data"] ?? {}) });
  if (node["kind"] === "Secret") own.push({ ...(node["stringData"] ?? {}) });
  return [...own, ...Object.values(node).flatMap(findBlocks)];
}

/** Without what is ignored, such as a developer's own .env. */
function listFiles(): string[] {
  // The checkout may belong to another user, as in a container.
  const args = ["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"];
  const listed = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  if (listed.status !== 0) return listUnpackedFiles();
  // The index still has what was removed just now.
  return listed.stdout.split("\n").filter((file) => file !== "" && existsSync(root + file));
}

/** Of sources that are no repository, as an archive unpacks them. */
function listUnpackedFiles(): string[] {
  return readdirSync(root)
    .filter((name) => !["node_modules", "dist", ".git", ".data"].includes(name))
    .flatMap((name) =>
      statSync(root + name).isDirectory()
        ? readdirSync(root + name, { recursive: true, encoding: "utf8" })
            .map((file) => `${name}/${file}`)
            .filter((file) => statSync(root + file).isFile())
        : [name],
    );
}
