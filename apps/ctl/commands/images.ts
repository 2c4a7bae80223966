/** `ctl images`: what the tasks of a stack are made of. */
import { Command } from 'commander';
import { callUnary } from '#rpc/client.js';
import type { NodeImages, TaskRow } from '#rpc/gen/weft/v1/api.js';
import { normalizeReference } from '#runtime/reference.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { bytes } from '../render/quantity.js';
import { listing, type Column } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';
import { tasksMeant } from '../which-tasks.js';

/** Nodes list images at their own pace. */
const LIST_TIMEOUT_MS = 20_000;
/** Enough of a digest to tell two apart. */
const SHORT_DIGEST = 'sha256:'.length + 12;

interface ImagesFlags extends ProjectFlags, CommonFlags {
  quiet?: boolean;
}

export function imagesCommand(shell: Shell): Command {
  const command = listingOptions(projectOptions(new Command('images').argument('[service...]', 'only these services')))
    .description('List the images that tasks are made of, each on its node.')
    .option('-q, --quiet', 'only the digests, each once');
  return command.action((services: string[]) => images(shell, services, flagsOf<ImagesFlags>(command)));
}

type Row = ReturnType<typeof rowOf>;

function rowOf(row: TaskRow, nodes: readonly NodeImages[]) {
  const image = row.task?.image ?? '';
  const here = nodes.find((n) => n.node === row.nodeName)?.images.find((i) => i.name === safely(image));
  const [, repository = image, tag = ''] = /^(.*?)(?::([^:/@]+))?(?:@.*)?$/.exec(image) ?? [];
  return {
    container: row.task?.name ?? '',
    service: row.task?.service ?? '',
    node: row.nodeName,
    repository,
    tag: tag || 'latest',
    digest: here?.digest ?? '',
    sizeBytes: here?.sizeBytes ?? null,
    platforms: here?.platforms.join(',') ?? '',
  };
}

const safely = (image: string): string => {
  try {
    return normalizeReference(image);
  } catch {
    return image;
  }
};

const COLUMNS: Column<Row>[] = [
  { title: 'CONTAINER', text: (r) => r.container },
  { title: 'REPOSITORY', text: (r) => r.repository },
  { title: 'TAG', text: (r) => r.tag },
  { title: 'DIGEST', text: (r) => r.digest.slice(0, SHORT_DIGEST) },
  { title: 'SIZE', text: (r) => (r.sizeBytes === null ? '' : bytes(r.sizeBytes)), align: 'right' },
  { title: 'NODE', text: (r) => r.node },
];

export async function images(shell: Shell, services: string[], flags: ImagesFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async (connection) => {
    const { api, target } = connection;
    const rows =
      services.length > 0
        ? await Promise.all(services.map((s) => tasksMeant(connection, stack, s)))
        : [await tasksMeant(connection, stack)];
    const { nodes } = await callUnary(api, 'listImages', {}, { target, timeoutMs: LIST_TIMEOUT_MS });
    for (const node of nodes) if (node.error !== '') say(shell, `warning: node ${node.node} did not answer: ${node.error}`);
    const found = rows.flat().map((row) => rowOf(row, nodes));
    if (flags.quiet) return print(shell, [...new Set(found.flatMap((r) => r.digest || []))].map((d) => `${d}\n`).join(''));
    print(shell, listing(found, COLUMNS, flags.format, shell.stdout.columns));
  });
}
