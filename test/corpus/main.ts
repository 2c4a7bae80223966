/** npm run corpus -- DIR: judges every Compose file of a folder. Exit code 1 where one is wrong. */
import { resolve } from 'node:path';
import { judgeFolder, reportOf } from './report.js';

const results = judgeFolder(resolve(process.argv[2] ?? 'test/corpus/cases'));
process.stdout.write(reportOf(results));
process.exitCode = results.some((result) => result.fault !== undefined) ? 1 : 0;
