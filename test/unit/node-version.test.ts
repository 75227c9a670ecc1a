import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { findNodeProblem, REQUIRED_NODE_MAJOR } from "../../src/node-version.ts";

test.each(["18.20.8", "20.20.2", "22.23.5", "23.0.0-nightly", "9.0.0"])(
  "Node %s is refused by name",
  (version) => {
    expect(findNodeProblem(version)?.message).toBe(
      `account-sync needs Node 24 or newer, and this is Node ${version}.`,
    );
  },
);

test.each(["24.0.0", "24.21.0", "26.1.0", "100.0.0", process.versions.node])(
  "Node %s is fine",
  (version) => {
    expect(findNodeProblem(version)).toBeNull();
  },
);

test("package.json and the image say the same version", () => {
  const manifest = JSON.parse(read("package.json")) as {
    readonly engines: { readonly node: string };
    readonly devDependencies: Readonly<Record<string, string>>;
  };
  const images = [...read("Dockerfile").matchAll(/^FROM node:(\d+)/gm)].map(([, major]) => major);

  expect(manifest.engines.node).toBe(`>=${REQUIRED_NODE_MAJOR}`);
  expect(manifest.devDependencies["node"]).toMatch(new RegExp(`^${REQUIRED_NODE_MAJOR}\\.`));
  expect(new Set(images)).toEqual(new Set([String(REQUIRED_NODE_MAJOR)]));
});

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}
