/**
 * A registry, for pulling from: manifests and blobs of one repository (OCI distribution specification 1.0). https always, http only to this
 * machine itself. Credentials go to the registry and its token server, and into no log, error or command line.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError, messageOf } from '#base/errors.js';
import { MAX_DOCUMENT_BYTES, digestOf } from './content.js';
import { MEDIA } from './image-config.js';
import { DEFAULT_REGISTRY, isDigest, repositoryOf } from './reference.js';
import type { ImageReference } from './reference.js';
import { basicAuthorization, isLoopbackHost, parseChallenge, tokenOf, tokenUrl } from './registry-auth.js';
import type { RegistryAuth } from './runtime.js';

const DOCKER_HUB_HOST = 'registry-1.docker.io';
const ANSWER_TIMEOUT_MS = 30_000;
/** A body from which nothing comes for this long is given up. */
const STALL_TIMEOUT_MS = 60_000;
const TRIES = 3;
const RETRY_MS = 500;
const ACCEPT = [MEDIA.ociIndex, MEDIA.dockerList, MEDIA.ociManifest, MEDIA.dockerManifest].join(', ');

export interface RemoteManifest {
  bytes: Buffer;
  digest: string;
  mediaType: string;
}

export class Registry {
  readonly #reference: ImageReference;
  readonly #auth: RegistryAuth | undefined;
  readonly #host: string;
  #origin: Promise<string> | undefined;
  #authorization: string | undefined;

  constructor(reference: ImageReference, auth: RegistryAuth | undefined) {
    this.#reference = reference;
    this.#auth = auth;
    this.#host = reference.registry === DEFAULT_REGISTRY ? DOCKER_HUB_HOST : reference.registry;
  }

  get #name(): string {
    return repositoryOf(this.#reference);
  }

  /** The digest that a tag stands for now. @throws IMAGE_UNKNOWN, UNAUTHENTICATED, RUNTIME */
  async resolve(tagOrDigest: string): Promise<string> {
    const answer = await this.#get(`manifests/${tagOrDigest}`, { method: 'HEAD', accept: ACCEPT });
    const digest = answer.response.headers.get('docker-content-digest') ?? '';
    answer.done();
    return isDigest(digest) ? digest : (await this.manifest(tagOrDigest)).digest;
  }

  /** A manifest or index, verified against the digest it was asked by. @throws IMAGE_UNKNOWN, UNAUTHENTICATED, IMAGE_INVALID, RUNTIME */
  async manifest(tagOrDigest: string): Promise<RemoteManifest> {
    const answer = await this.#get(`manifests/${tagOrDigest}`, { accept: ACCEPT });
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of answer.body()) {
      size += chunk.length;
      if (size > MAX_DOCUMENT_BYTES) throw new WeftError('IMAGE_INVALID', `the manifest of ${this.#name} is too large`);
      chunks.push(chunk);
    }
    const bytes = Buffer.concat(chunks);
    const digest = digestOf(bytes);
    const expected = isDigest(tagOrDigest) ? tagOrDigest : answer.response.headers.get('docker-content-digest');
    if (expected && isDigest(expected) && expected !== digest) {
      throw new WeftError('IMAGE_INVALID', {
        what: `the registry sent a wrong manifest of ${this.#name}`,
        why: `asked for ${expected}, got ${digest}`,
      });
    }
    return { bytes, digest, mediaType: (answer.response.headers.get('content-type') ?? '').split(';')[0]?.trim() ?? '' };
  }

  /** A blob's bytes, from `offset` if the registry can. Not verified: that is for whoever stores it. */
  async blob(digest: string): Promise<AsyncIterable<Uint8Array>> {
    return (await this.#get(`blobs/${digest}`, {})).body();
  }

  /** One request, authorised once if the registry asks, tried again if it stumbles. */
  async #get(path: string, options: { method?: string; accept?: string }): Promise<Answer> {
    const url = `${await this.#base()}/v2/${this.#reference.repository}/${path}`;
    let authorised = false;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#fetch(url, options).catch((error: unknown) => {
        if (attempt >= TRIES) throw error;
        return undefined;
      });
      if (answer?.response.ok) return answer;
      answer?.done();
      const code = answer?.response.status ?? 0;
      if (code === 401 && !authorised && answer) {
        authorised = true;
        await this.#authorise(answer.response.headers.get('www-authenticate') ?? '');
        continue;
      }
      if (attempt >= TRIES || (code !== 0 && code < 500 && code !== 429)) throw this.#refusal(code, path);
      await sleep(RETRY_MS * attempt);
    }
  }

  async #fetch(url: string, { method = 'GET', accept }: { method?: string; accept?: string }): Promise<Answer> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new Error(`no answer in ${ANSWER_TIMEOUT_MS / 1000} s`)), ANSWER_TIMEOUT_MS);
    try {
      const headers = {
        'user-agent': 'weft',
        ...(accept ? { accept } : {}),
        ...(this.#authorization ? { authorization: this.#authorization } : {}),
      };
      // A redirect to another origin (blobs often live elsewhere) goes without our authorization: fetch sees to it.
      return new Answer(await fetch(url, { method, headers, signal: abort.signal }), abort);
    } catch (error) {
      throw this.#unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Loopback registries speak https or http; all others https. */
  #base(): Promise<string> {
    if (!isLoopbackHost(new URL(`https://${this.#host}`).hostname)) return Promise.resolve(`https://${this.#host}`);
    this.#origin ??= this.#fetch(`https://${this.#host}/v2/`, {}).then(
      (answer) => {
        answer.done();
        return `https://${this.#host}`;
      },
      () => `http://${this.#host}`,
    );
    return this.#origin;
  }

  async #authorise(header: string): Promise<void> {
    const challenge = parseChallenge(header);
    if (challenge?.scheme === 'basic' && this.#auth) this.#authorization = basicAuthorization(this.#auth);
    else if (challenge?.scheme === 'bearer')
      this.#authorization = `Bearer ${await this.#token(tokenUrl(challenge, this.#reference.repository))}`;
    else throw this.#refusal(401, '');
  }

  async #token(url: URL): Promise<string> {
    const headers = { 'user-agent': 'weft', ...(this.#auth ? { authorization: basicAuthorization(this.#auth) } : {}) };
    let response: Response;
    try {
      response = await fetch(url, { headers, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    } catch (error) {
      throw this.#unreachable(error);
    }
    if (!response.ok) throw this.#refusal(response.status === 403 ? 401 : response.status, 'token');
    const token = tokenOf(await response.json().catch(() => undefined));
    if (!token)
      throw new WeftError('UNAUTHENTICATED', {
        what: `cannot log in to ${this.#reference.registry}`,
        why: 'its token server gave no token',
      });
    return token;
  }

  #refusal(code: number, path: string): WeftError {
    const { registry } = this.#reference;
    if (code === 404) return new WeftError('IMAGE_UNKNOWN', { what: `${registry} has no ${this.#reference.repository}${describe(path)}` });
    if (code === 401 || code === 403) {
      return new WeftError('UNAUTHENTICATED', {
        what: `${registry} does not give out ${this.#reference.repository}`,
        why: this.#auth ? 'user or password is wrong, may not read it, or it does not exist' : 'it needs a login, or it does not exist',
        hint: `Log in with \`docker login ${registry}\`, and check the name.`,
      });
    }
    const why =
      code === 429 ? 'it limits the number of pulls for now' : code === 0 ? 'it does not answer' : `it answered with HTTP status ${code}`;
    return new WeftError('RUNTIME', {
      what: `cannot pull ${this.#name}`,
      why,
      hint: 'Try again later, or load the image with `ctl image load`.',
    });
  }

  #unreachable(error: unknown): WeftError {
    return new WeftError('RUNTIME', {
      what: `cannot reach the registry ${this.#reference.registry}`,
      why: reasonOf(error),
      hint: 'Check its name and that this node can reach it.',
    });
  }
}

const describe = (path: string): string => {
  const [kind, what = ''] = path.split('/');
  return kind === 'manifests' ? (isDigest(what) ? `@${what}` : `:${what}`) : kind === 'blobs' ? ` (its part ${what})` : '';
};

/** fetch says "fetch failed" and hides the reason in the cause; of several addresses tried, only a code is left. */
function reasonOf(error: unknown): string {
  const { cause } = (error ?? {}) as { cause?: { message?: string; code?: string } };
  return [cause?.code, cause?.message].filter(Boolean).join(': ') || messageOf(error) || 'no connection';
}

/** A response whose body is watched for stalls. */
class Answer {
  readonly response: Response;
  readonly #abort: AbortController;

  constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
  }

  /** The rest is not wanted. */
  done(): void {
    this.response.body?.cancel().catch(() => undefined);
  }

  async *body(): AsyncGenerator<Uint8Array> {
    const stall = () => this.#abort.abort(new Error(`nothing came for ${STALL_TIMEOUT_MS / 1000} s`));
    let timer = setTimeout(stall, STALL_TIMEOUT_MS);
    try {
      for await (const chunk of (this.response.body ?? []) as AsyncIterable<Uint8Array>) {
        clearTimeout(timer);
        yield chunk;
        timer = setTimeout(stall, STALL_TIMEOUT_MS);
      }
    } catch (error) {
      throw new WeftError('RUNTIME', { what: 'the registry broke off', why: reasonOf(error) });
    } finally {
      clearTimeout(timer);
    }
  }
}
