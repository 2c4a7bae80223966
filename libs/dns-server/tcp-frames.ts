/** DNS over TCP: each message after its length in two bytes (RFC 1035 §4.2.2, RFC 7766 §8). */

const LENGTH_BYTES = 2;

export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + message.length);
  frame.writeUInt16BE(message.length, 0);
  frame.set(message, LENGTH_BYTES);
  return frame;
}

/** Returns what takes the chunks; `onMessage` gets each message when it is whole. At most one message and one chunk are held. */
export function frameReader(onMessage: (message: Buffer) => void): (chunk: Buffer) => void {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let wantedBytes = LENGTH_BYTES;
  return (chunk) => {
    held.push(chunk);
    heldBytes += chunk.length;
    if (heldBytes < wantedBytes) return;
    let bytes = held.length === 1 ? chunk : Buffer.concat(held, heldBytes);
    while (bytes.length >= LENGTH_BYTES && bytes.length >= LENGTH_BYTES + bytes.readUInt16BE(0)) {
      const end = LENGTH_BYTES + bytes.readUInt16BE(0);
      onMessage(bytes.subarray(LENGTH_BYTES, end));
      bytes = bytes.subarray(end);
    }
    wantedBytes = bytes.length < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + bytes.readUInt16BE(0);
    held = bytes.length > 0 ? [bytes] : [];
    heldBytes = bytes.length;
  };
}
