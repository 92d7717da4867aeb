import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, expect, test, vi } from 'vitest'
import { cli, spawnCli } from '../support/cli.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

const COMMANDS = [
  'migrate',
  'topology show',
  'topology declare',
  'topology diff',
  'relay',
  'status',
  'publish',
  'peek',
  'dead list',
  'dead show',
  'dead redrive',
  'dead purge',
  'audit',
  'demo',
]

describe('--help', () => {
  test('of the program names every command', async () => {
    const { code, stdout, stderr } = await cli(['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command.split(' ')[0]} `, 'm'))
  })

  test.each(COMMANDS)('of %s has an example, and the shape of its JSON', async (command) => {
    const { code, stdout, stderr } = await cli([...command.split(' '), '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain(`Usage: posthaste ${command}`)
    expect(stdout).toMatch(new RegExp(`Example:\n {2}\\$ .*posthaste ${command}`))
    expect(stdout).toMatch(/JSON:\n {2}\{/)
  })

  test('comes by "help <command>" too', async () => {
    expect((await cli(['help', 'dead', 'redrive'])).stdout).toContain('Usage: posthaste dead redrive')
  })
})

test('--version is the package’s', async () => {
  expect(await cli(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
})

test.each([
  [['statsu'], `Unknown command 'statsu'\n(Did you mean status?)\nTry: posthaste --help\n`],
  [['dead', 'redrvie', '1'], `Unknown command 'redrvie'\n(Did you mean redrive?)\nTry: posthaste dead --help\n`],
  [['audit', '--jsno'], `Unknown option '--jsno'\n(Did you mean --json?)\nTry: posthaste audit --help\n`],
  [['peek'], `Missing required argument 'queue'\nTry: posthaste peek --help\n`],
  [
    ['demo', '--orders', 'many'],
    `Option '--orders <count>' argument 'many' is invalid. It is not a whole number from 1 to`,
  ],
  [['demo', '--inject', 'los'], `Allowed choices are loss, duplicate.`],
  [['audit', '--url', 'localhost:secret'], 'Cannot use --url: it does not begin with postgres://\n'],
  [['publish', '--payload', '{}'], 'Cannot publish: neither --type nor --routing-key is given\n'],
  [['publish', '--type', 'x'], 'Cannot publish: give the message with --payload or with --file, one of them\n'],
  [['publish', '--type', 'x', '--payload', '4111111111111111,'], 'Cannot publish --payload: it is not JSON\n'],
  [['publish', '--type', 'x', '--payload', '[9007199254740993]'], 'it has a number that JavaScript would round'],
  [['publish', '--type', 'x', '--file', '/nowhere'], 'Cannot read "/nowhere": ENOENT\n'],
  [['dead', 'purge', '--all'], 'Cannot purge without ids: add --yes to delete all that the options find\n'],
  [['dead', 'redrive'], 'Cannot tell which dead letters: give ids, options that find them, or --all\n'],
  [['dead', 'redrive', '1', '--all'], 'Cannot take ids together with'],
  [['migrate', '--print', '--json'], '--print with --check or --json'],
])('%j is a mistake of usage: a sentence, no stack, exit code 2', async (args, sentence) => {
  const { code, stdout, stderr } = await cli(args)
  expect(stderr).toContain(sentence)
  expect(stderr).not.toContain('    at ')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
})

test('no command at all shows the help, and is no success', async () => {
  expect(await cli([])).toMatchObject({ code: 2, stdout: expect.stringContaining('Usage: posthaste') })
})

test('a mistake with --json is told as one JSON object', async () => {
  const { code, stderr } = await cli(['audit', '--json', '--schem', 'x'])
  expect(code).toBe(2)
  expect(JSON.parse(stderr)).toEqual({
    version: 1,
    error: { code: 'USAGE', message: "Unknown option '--schem'\n(Did you mean --schema?)" },
  })
})

test('output that nobody reads to the end is no failure', async () => {
  const child = spawnCli(['migrate', '--print'])
  child.stdout!.destroy()
  const [stderr, [code]] = await Promise.all([text(child.stderr!), once(child, 'close')])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})
