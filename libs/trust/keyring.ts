/**
 * The keys that secrets are sealed with: one ring for the whole cluster, in a file beside the CA's key, for nobody but the
 * controllers. AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce for each sealed text. What a text is (which secret,
 * which chunk) is authenticated with it, so that no sealed text can stand in for another.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { z } from 'zod';
import { messageOf, WeftError } from '#base/errors.js';
import { decode, encode } from '#model/codec.js';
import { idSchema } from '#model/names.js';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_BYTES = 8;

const keySchema = z.string().refine((text) => Buffer.from(text, 'base64').length === KEY_BYTES, 'not a key of 256 bits');
/** `current` seals; every key of the ring opens. `idKey` names contents, and never changes: what is named anew is rolled out anew. */
const ringSchema = z.object({ current: idSchema, keys: z.record(idSchema, keySchema), idKey: keySchema });

export class Keyring {
  readonly #ring: z.infer<typeof ringSchema>;

  private constructor(ring: z.infer<typeof ringSchema>) {
    this.#ring = ring;
  }

  /** A ring with new keys. */
  static make(): Keyring {
    const id = randomBytes(KEY_ID_BYTES).toString('hex');
    const key = () => randomBytes(KEY_BYTES).toString('base64');
    return new Keyring({ current: id, keys: { [id]: key() }, idKey: key() });
  }

  /** Reads the ring of `path`, or makes one there, of mode 0600. @throws CORRUPT */
  static async open(path: string): Promise<Keyring> {
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    });
    if (text !== undefined) return new Keyring(decodeRing(text, path));
    const made = Keyring.make();
    await writeWhole(path, encode(made.#ring));
    return made;
  }

  /** Keeps a ring that another controller told of, for `open` to find. @throws CORRUPT */
  static async save(path: string, text: string): Promise<void> {
    decodeRing(text, 'the ring of keys');
    await writeWhole(path, text);
  }

  /** The ring itself, for another controller and nobody else. */
  toText(): string {
    return encode(this.#ring);
  }

  /** Of the key that seals. */
  get currentId(): string {
    return this.#ring.current;
  }

  /** What a secret is known by: tells nothing of it to who has no key, and is the same for the same bytes. */
  nameOf(bytes: Uint8Array): string {
    return createHmac('sha256', Buffer.from(this.#ring.idKey, 'base64')).update(bytes).digest('hex');
  }

  /** @param about what the text is: has to be said again to open it */
  seal(bytes: Uint8Array, about: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key(this.#ring.current), nonce);
    cipher.setAAD(Buffer.from(about));
    return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]).toString('base64');
  }

  /** @throws CORRUPT when it was changed, is of something else, or its key is not on this ring */
  unseal(text: string, keyId: string, about: string): Buffer {
    const sealed = Buffer.from(text, 'base64');
    const key = this.#key(keyId);
    try {
      const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES));
      decipher.setAAD(Buffer.from(about));
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    } catch (cause) {
      throw new WeftError('CORRUPT', { what: 'a secret in the store cannot be opened', why: messageOf(cause), cause });
    }
  }

  #key(id: string): Buffer {
    const key = Object.hasOwn(this.#ring.keys, id) ? this.#ring.keys[id] : undefined;
    if (key !== undefined) return Buffer.from(key, 'base64');
    throw new WeftError('CORRUPT', {
      what: 'a secret in the store cannot be opened',
      why: `this controller does not have key ${id.slice(0, 16)}, which sealed it`,
      hint: 'Give every controller the same pki/secret-keys.json, or store the secret again.',
    });
  }
}

function decodeRing(text: string, path: string): z.infer<typeof ringSchema> {
  const ring = decode(ringSchema, text, path);
  if (!Object.hasOwn(ring.keys, ring.current)) throw new WeftError('CORRUPT', { what: `${path} does not have the key it calls current` });
  return ring;
}

async function writeWhole(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
