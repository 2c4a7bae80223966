/** For tests of what one service says: the file around it is always the same. */
import type { Service } from '#model/stack.js';
import { ComposeErrors } from './issue.js';
import { parseCompose } from './parse-compose.js';

/** The service "web" with these lines. @throws ComposeErrors */
export const serviceOf = (...lines: string[]): Service =>
  parseCompose({
    text: ['name: s', 'services:', '  web:', '    image: busybox', ...lines.map((line) => `    ${line}`), ''].join('\n'),
    file: 'stack.yaml',
    env: {},
    projectDirectory: '/srv/s',
  }).stack.services['web'] as Service;

/** What is wrong with these lines, `line:column: path: message` each. */
export function faultsOf(...lines: string[]): string[] {
  try {
    serviceOf(...lines);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => `${i.line}:${i.column}: ${i.path}: ${i.message}`);
    throw error;
  }
  return [];
}
