import type { StoredContract } from '../index.ts'
import { databaseCommand, told } from './command.ts'
import { Failure } from './failure.ts'
import { withPosthaste } from './open.ts'
import { harmless, print, printHeading, printJson, printTable } from './output.ts'

export function contractsCommand() {
  return databaseCommand('contracts')
    .description('The shapes of messages, as the services that share the database have declared them.')
    .argument('[name]', 'only this contract, with its JSON Schemas')
    .addHelpText(
      'after',
      told({
        example: `posthaste contracts
posthaste contracts order.placed --json`,
        json: `{"version":1,
   "contracts":[{"name","contractVersion","exchange","schema":{…},"vendor","encrypted":[paths],"owner","declaredAt"}]}
   schema is JSON Schema, or null where the schema library cannot write it`,
      }),
    )
    .action(async (name, options) => {
      const { contracts } = await withPosthaste(
        { ...options, applicationName: 'posthaste contracts' },
        ({ posthaste }) => posthaste.topology(),
      )
      const wanted = contracts.filter((contract) => name === undefined || contract.name === name.normalize('NFC'))
      if (name !== undefined && wanted.length === 0)
        throw new Failure(`Cannot show contract "${harmless(name)}": no service has declared it`)
      if (options.json) printJson({ contracts: wanted.map(asJson) })
      else if (name === undefined) await list(wanted)
      else wanted.forEach(showWhole)
    })
}

function asJson({ version, ...contract }: StoredContract) {
  return { ...contract, contractVersion: version }
}

async function list(contracts: readonly StoredContract[]): Promise<void> {
  await printTable(
    ['contract', 'version', 'exchange', 'JSON Schema', 'encrypted', 'owner', 'declared'],
    contracts.map(({ name, version, exchange, schema, vendor, encrypted, owner, declaredAt }) => [
      name,
      version,
      exchange || '(default)',
      schema ? 'yes' : `not written by ${vendor ?? 'its library'}`,
      encrypted.join(', '),
      owner,
      declaredAt,
    ]),
    'No contracts',
  )
}

function showWhole({ name, version, exchange, schema, vendor, encrypted, owner }: StoredContract): void {
  printHeading(`${harmless(name)} version ${version}`)
  print(`exchange   ${harmless(exchange || '(default)')}`)
  if (owner !== null) print(`owner      ${harmless(owner)}`)
  if (encrypted.length > 0) print(`encrypted  ${harmless(encrypted.join(', '))}`)
  print(
    schema
      ? JSON.stringify(schema, null, 2).split('\n').map(harmless).join('\n')
      : `no JSON Schema: ${harmless(vendor ?? 'its library')} cannot write one`,
  )
}
