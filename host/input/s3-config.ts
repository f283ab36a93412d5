/** Where S3 is and with which credentials, as the environment and the AWS tools' files say. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import type { Credentials } from "./s3-signing.ts";

export interface S3Config {
  endpoint: URL;
  region: string;
  /** Requests are not signed where there are none. */
  credentials?: Credentials;
}

type Environment = Record<string, string | undefined>;

/** Throws `s3-config`, without any value of the environment in its message. */
export function s3ConfigOf(env: Environment): S3Config {
  const region = env.AWS_REGION || env.AWS_DEFAULT_REGION || "us-east-1";
  if (!/^[\w-]{1,64}$/.test(region)) throw wrong("AWS_REGION is no region, such as us-east-1");
  const credentials = credentialsOf(env);
  return { endpoint: endpointOf(env, region), region, ...(credentials ? { credentials } : {}) };
}

function endpointOf(env: Environment, region: string): URL {
  const given = env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || `https://s3.${region}.amazonaws.com`;
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.username)
    throw wrong("AWS_ENDPOINT_URL is no address of a server, such as http://127.0.0.1:9000");
  return url;
}

function credentialsOf(env: Environment): Credentials | undefined {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = env;
  if (!id && !secret) return profileOf(env);
  if (!id || !secret) throw wrong("set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither");
  return credentials(id, secret, token);
}

/** Those of a profile in the credentials file. */
function profileOf(env: Environment): Credentials | undefined {
  const path = env.AWS_SHARED_CREDENTIALS_FILE || join(homedir(), ".aws", "credentials");
  const profile = env.AWS_PROFILE || "default";
  const values = section(textOf(path), profile);
  const { aws_access_key_id: id, aws_secret_access_key: secret, aws_session_token: token } = values;
  if (id && secret) return credentials(id, secret, token);
  if (env.AWS_PROFILE) throw wrong(`the profile of AWS_PROFILE has no keys in ${path}`);
  return undefined;
}

function credentials(accessKeyId: string, secretAccessKey: string, sessionToken = ""): Credentials {
  const all = { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
  if (Object.values(all).some((value) => !/^[\x21-\x7e]+$/.test(value)))
    throw wrong("the AWS credentials hold characters that no credentials have");
  return all;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** The values of a section of an INI file. */
function section(text: string, wanted: string): Record<string, string> {
  const values: Record<string, string> = {};
  let inside = false;
  for (const line of text.split("\n").map((each) => each.trim())) {
    if (line.startsWith("[")) inside = line === `[${wanted}]`;
    const equals = line.indexOf("=");
    if (inside && equals > 0 && !/^[#;]/.test(line))
      values[line.slice(0, equals).trim()] = line.slice(equals + 1).trim();
  }
  return values;
}

function wrong(message: string): HallelujahError {
  return new HallelujahError("s3-config", message);
}
