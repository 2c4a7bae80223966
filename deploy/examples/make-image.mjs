#!/usr/bin/env node
/**
 * Assembles a small image without any registry: Debian's static busybox, a web server that says who it is and whom it
 * saw, and a user that is not root. Writes a Docker archive, as `docker save` would.
 *
 *   node deploy/examples/make-image.mjs OUT.tar [NAME:TAG]
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream, readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';

const BUSYBOX = '/bin/busybox';
const EPOCH = new Date(0);
/** Number of the user `web`. */
const WEB = 1000;

/** Answers every request with one line: who answers, and the address of the one who asked. */
const INDEX_CGI = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
printf '%s saw %s\\n' "$(hostname)" "$REMOTE_ADDR"
`;

/** The first process of a container gets no default signal handlers: this one ends when told to, and its server with it. */
const START = `#!/bin/sh
httpd -f -p 0.0.0.0:80 -h /www &
trap 'kill $!; exit 0' TERM INT
wait $!
`;

/** Entries of one layer → tar bytes. */
async function tar(entries) {
  const stream = pack();
  for (const { name, type = 'file', mode, owner = 0, link, body = '' } of entries) {
    stream.entry({ name, type, mode, mtime: EPOCH, uid: owner, gid: owner, linkname: link }, type === 'file' ? body : undefined);
  }
  stream.finalize();
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const dir = (name, mode = 0o755) => ({ name: `${name}/`, type: 'directory', mode });
const file = (name, body, mode = 0o644) => ({ name, mode, body });

function rootfs() {
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  return [
    ...['bin', 'etc', 'proc', 'sys', 'dev', 'root', 'home', 'www', 'www/cgi-bin'].map((name) => dir(name)),
    dir('tmp', 0o1777),
    { ...dir('home/web'), owner: WEB },
    { ...dir('data'), owner: WEB },
    file('bin/busybox', readFileSync(BUSYBOX), 0o755),
    ...applets.filter((a) => a !== 'busybox').map((a) => ({ name: `bin/${a}`, type: 'symlink', mode: 0o777, link: 'busybox' })),
    file('bin/web', START, 0o755),
    file('etc/passwd', `root:x:0:0:root:/root:/bin/sh\nweb:x:${WEB}:${WEB}:web:/home/web:/bin/sh\n`),
    file('etc/group', `root:x:0:\nweb:x:${WEB}:\n`),
    file('www/cgi-bin/index.cgi', INDEX_CGI, 0o755),
  ];
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** A Docker archive with one layer: manifest.json, the config, the layer. */
export async function makeImage(reference, config = {}) {
  const layer = await tar(rootfs());
  const image = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    created: EPOCH.toISOString(),
    config: { Env: ['PATH=/bin'], User: 'web', WorkingDir: '/home/web', Cmd: ['/bin/web'], ...config },
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
    history: [{ created: EPOCH.toISOString(), created_by: 'make-image' }],
  };
  const json = Buffer.from(JSON.stringify(image));
  const configName = `${sha256(json)}.json`;
  const manifest = [{ Config: configName, RepoTags: [reference], Layers: ['layer.tar'] }];
  return tar([file('manifest.json', JSON.stringify(manifest)), file(configName, json), file('layer.tar', layer)]);
}

if (process.argv[1] && import.meta.url.endsWith(process.argv[1].split('/').pop() ?? '')) {
  const [out, reference = 'weft-demo:latest'] = process.argv.slice(2);
  if (!out) {
    console.error('usage: make-image.mjs OUT.tar [NAME:TAG]');
    process.exit(2);
  }
  await pipeline([await makeImage(reference)], createWriteStream(out));
}
