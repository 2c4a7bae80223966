/** What `ctl cp` makes of its two paths: the rules of `cp -a`, as docker has them. Pure. */
import { basename, dirname } from 'node:path/posix';
import { WeftError } from '#base/errors.js';

export type Place =
  | { kind: 'stream' }
  | { kind: 'local'; path: string }
  /** `SERVICE:PATH`, or `TASK:PATH`. */
  | { kind: 'container'; who: string; path: string };

/** `-`, `./file`, `web:/etc/hosts`. A local path that holds a colon is told apart by a beginning of `/` or `.`. */
export function readPlace(text: string): Place {
  if (text === '-') return { kind: 'stream' };
  const colon = text.indexOf(':');
  if (colon <= 0 || text.startsWith('.') || text.startsWith('/')) return { kind: 'local', path: text };
  const path = text.slice(colon + 1);
  // As docker: a path in a container begins at its root.
  return { kind: 'container', who: text.slice(0, colon), path: path.startsWith('/') ? path : `/${path}` };
}

export interface Source {
  kind: 'file' | 'directory';
  /** The path as it was written. */
  path: string;
}

/** Where it goes: a directory that is there, and the name it gets in it; '' for the content alone. */
export interface Destination {
  directory: string;
  as: string;
}

/** `dir/.`: what is in the directory, and not the directory. */
export const isContent = (path: string): boolean => path === '.' || path.endsWith('/.') || path === '/';

/** The name that a path ends in. */
export const nameOf = (path: string): string => basename(path.replace(/\/+$/, ''));

/**
 * @param path the destination as it was written
 * @param there what is at the destination already
 * @throws CONFLICT, NOT_FOUND
 */
export function destinationOf(source: Source, path: string, there: 'file' | 'directory' | 'other' | undefined): Destination {
  const isMeantAsDirectory = path.endsWith('/') || isContent(path);
  if (there === 'directory')
    return { directory: path, as: source.kind === 'directory' && isContent(source.path) ? '' : nameOf(source.path) };
  if (there !== undefined) {
    if (source.kind === 'directory')
      throw new WeftError('CONFLICT', {
        what: `cannot copy a directory to ${path}`,
        why: 'a file is there',
        hint: 'Name a directory, or a new name.',
      });
    if (isMeantAsDirectory) throw new WeftError('CONFLICT', { what: `${path} is no directory`, hint: 'Leave out the slash at its end.' });
  } else if (source.kind === 'file' && isMeantAsDirectory) {
    throw new WeftError('NOT_FOUND', { what: `there is no directory ${path}`, hint: 'Make it first, or leave out the slash at its end.' });
  }
  const plain = path.replace(/\/\.$/, '').replace(/\/+$/, '');
  return { directory: dirname(plain), as: basename(plain) };
}

/** Which way it goes. @throws USAGE */
export function checkPlaces(from: Place, to: Place): 'in' | 'out' {
  if (from.kind === 'container' && to.kind === 'container')
    throw new WeftError('USAGE', {
      what: 'copying from one service to another is not possible in one step',
      hint: 'Use a pipe: `ctl cp A:/path - | ctl cp - B:/path`.',
    });
  if (from.kind !== 'container' && to.kind !== 'container')
    throw new WeftError('USAGE', { what: 'neither path is in a service', hint: 'Write one of them as SERVICE:/path.' });
  return from.kind === 'container' ? 'out' : 'in';
}
