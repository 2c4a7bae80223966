/** Images as rows: one for each name and digest, with the nodes that have it. */
import type { NodeImages } from '#rpc/gen/weft/v1/api.js';
import { bytes } from './quantity.js';
import { inOrder, type Column } from './table.js';

export interface ImageListRow extends Readonly<Record<string, string | number>> {
  name: string;
  digest: string;
  sizeBytes: number;
  platforms: string;
  nodes: string;
}

export function imageRows(nodes: readonly NodeImages[]): ImageListRow[] {
  const rows = new Map<string, ImageListRow>();
  for (const node of [...nodes].sort((a, b) => inOrder(a.node, b.node))) {
    for (const image of node.images) {
      const key = `${image.name} ${image.digest}`;
      const known = rows.get(key);
      const { name, digest, sizeBytes } = image;
      rows.set(key, {
        name,
        digest,
        sizeBytes,
        platforms: image.platforms.join(','),
        nodes: known ? `${known.nodes},${node.node}` : node.node,
      });
    }
  }
  return [...rows.values()].sort((a, b) => a.name.localeCompare(b.name) || a.digest.localeCompare(b.digest));
}

/** Enough of a digest to tell two apart. */
const SHORT_DIGEST = 'sha256:'.length + 12;

export const imageColumns: Column<ImageListRow>[] = [
  { title: 'IMAGE', text: (r) => r.name },
  { title: 'DIGEST', text: (r) => r.digest.slice(0, SHORT_DIGEST) },
  { title: 'SIZE', text: (r) => bytes(r.sizeBytes), align: 'right' },
  { title: 'PLATFORMS', text: (r) => r.platforms },
  { title: 'NODES', text: (r) => r.nodes.replaceAll(',', ', ') },
];
