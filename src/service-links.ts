/**
 * Environment variables that Docker and Kubernetes set to tell a container about other services. Some have the name of a setting: for a
 * Service named "http" Kubernetes sets `HTTP_PORT=tcp://10.0.0.1:80` in every container of the namespace. Pure.
 */
import type { Environment } from "./environment.ts";

/** Settings whose value is a service link, with one sentence about each, without the full stop. */
export function findServiceLinkValues(environment: Environment, known: readonly string[]) {
  return known.flatMap((name) => {
    const value = environment[name];
    if (!name.endsWith("_PORT") || value === undefined || !isServiceLink(name, value)) return [];
    const service = name
      .replace(/_PORT$/, "")
      .toLowerCase()
      .replaceAll("_", "-");
    const problem = `${name} is ${value}, which Kubernetes sets where there is a Service named "${service}": set enableServiceLinks: false in the pod, or set ${name} there to a number`;
    return [{ name, problem }];
  });
}

/** Whether Docker or Kubernetes has set the variable, which describes another service. */
export function isServiceLink(name: string, value: string | undefined): boolean {
  return (
    /_SERVICE_(?:HOST|PORT(?:_\w+)?)$/.test(name) ||
    /_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/.test(name) ||
    (name.endsWith("_PORT") && /^(?:tcp|udp|sctp):\/\//.test(value ?? ""))
  );
}
