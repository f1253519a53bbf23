"""dockerode, the library of Node.js programs that show and change what a Docker engine has."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.docker.conftest import World
from tests.docker.packages import installed, npm

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.slow, pytest.mark.usefixtures("clean")]

PACKAGE = "dockerode@4.0.12"

PROGRAM = """
const Docker = require('dockerode')
const { PassThrough } = require('stream')
const docker = new Docker({ socketPath: process.env.SOCKET, timeout: 20000, version: process.env.VERSION })
const refusal = work => work.then(() => 'granted', error => [error.statusCode, error.json.message])
const read = stream => new Promise((resolve, reject) => {
    let text = ''
    stream.on('data', data => { text += data }).on('end', () => resolve(text)).on('error', reject)
})
// What came on the two streams in one, once it has ended.
async function demultiplexed(stream) {
    const out = new PassThrough(), err = new PassThrough()
    docker.modem.demuxStream(stream, out, err)
    stream.on('end', () => { out.end(); err.end() })
    return Promise.all([read(out), read(err)])
}
async function program() { %s }
program().then(
    result => { console.log(JSON.stringify(result)) },
    error => { console.error(error); process.exitCode = 1 }
)
"""

Node = Callable[[str], Any]


@pytest.fixture(params=["", "v1.41"], ids=["no version", "1.41"])
def node(world: World, request: pytest.FixtureRequest) -> Node:
    """Runs the body of a function that has `docker`; what it returns."""
    modules = installed(PACKAGE, npm(PACKAGE)) / "node_modules"

    def run(body: str) -> Any:
        environment = {"NODE_PATH": str(modules), "SOCKET": world.weftd.socket, "VERSION": request.param}
        return json.loads(world.host.run(["node", "-e", PROGRAM % body], env=environment, timeout=40).stdout)

    return run


def test_who_is_there(node: Node):
    ping, version, info = node("return [String(await docker.ping()), await docker.version(), await docker.info()]")
    assert ping == "OK"
    assert version["ApiVersion"] == "1.52"
    assert (info["OSType"], info["Swarm"]["LocalNodeState"]) == ("linux", "inactive")


def test_a_network_and_its_life(node: Node, world: World):
    world.container("web")
    seen = node("""
        const blue = await docker.createNetwork({
            Name: 'blue', CheckDuplicate: true, Labels: { team: 'a' }, Internal: true,
            IPAM: { Driver: 'default', Config: [{ Subnet: '10.7.0.0/24', Gateway: '10.7.0.5' }], Options: {} },
        })
        const named = async filters => (await docker.listNetworks({ filters })).map(network => network.Name)
        const lists = [
            await named({ label: ['team=a'] }),
            await named({ name: { '^blu': true } }),
            await named(JSON.stringify({ driver: ['bridge'], type: ['custom'] })),
            await named({ label: ['team=b'] }),
        ]
        await blue.connect({ Container: 'web', EndpointConfig: { IPAMConfig: { IPv4Address: '10.7.0.77' } } })
        const inspected = await blue.inspect()
        const refused = await refusal(blue.remove())
        await blue.disconnect({ Container: 'web', Force: true })
        const pruned = await docker.pruneNetworks({ filters: { 'label!': ['keep'] } })
        return { lists, inspected, refused, pruned, gone: await refusal(blue.inspect()), id: blue.id }
    """)
    assert seen["lists"] == [["blue"], ["blue"], ["blue"], []]
    assert seen["inspected"]["Id"] == seen["id"]
    assert seen["inspected"]["IPAM"]["Config"] == [{"Subnet": "10.7.0.0/24", "Gateway": "10.7.0.5"}]
    assert [member["IPv4Address"] for member in seen["inspected"]["Containers"].values()] == ["10.7.0.77/24"]
    status, message = seen["refused"]
    assert (status, message.partition(" (")[0]) == (403, "network blue has active endpoints")
    assert seen["pruned"] == {"NetworksDeleted": ["blue"]}
    assert seen["gone"] == [404, f"network {seen['id']} not found"]


def test_a_network_removed(node: Node):
    seen = node("""
        const red = await docker.createNetwork({ Name: 'red' })
        const twice = await refusal(docker.createNetwork({ Name: 'red' }))
        await red.remove()
        return [twice, await refusal(red.remove())]
    """)
    assert seen[0] == [409, "network with name red already exists"]
    assert seen[1][0] == 404


def test_containers(node: Node, world: World):
    ports = [{"container_port": 80, "host_port": 8080}]
    ident = world.weftd.client.containers.run(["sleep", "60"], name="web", labels={"team": "a"}, ports=ports).id
    seen = node("""
        const listed = await docker.listContainers({ filters: { label: ['team=a'], status: ['running'] } })
        const web = docker.getContainer(listed[0].Id)
        const [inspected, top] = [await web.inspect(), await web.top()]
        const stats = await web.stats({ stream: false })
        await web.rename({ name: 'www' })
        const waiting = web.wait()
        await web.stop({ t: 1 })
        const { StatusCode } = await waiting
        const state = (await web.inspect()).State
        await web.remove()
        return { listed, inspected, top, stats, StatusCode, state, left: await docker.listContainers({ all: true }) }
    """)
    (listed,) = seen["listed"]
    assert (listed["Id"], listed["Names"]) == (ident, ["/web"])
    assert {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"} in listed["Ports"]
    assert seen["inspected"]["State"]["Running"]
    assert any("sleep 60" in row for row in seen["top"]["Processes"] for row in row)
    assert "eth0" in seen["stats"]["networks"]
    assert (seen["StatusCode"], seen["state"]["ExitCode"]) == (143, 143)
    assert seen["left"] == []


def test_logs_followed_to_their_end(node: Node, world: World):
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.2; done"
    world.weftd.client.containers.run(["sh", "-c", script], name="talker")
    out, err = node("""
        const talker = docker.getContainer('talker')
        return demultiplexed(await talker.logs({ follow: true, stdout: true, stderr: true }))
    """)
    assert out == "out 1\nout 2\nout 3\n"
    assert err == "err 1\nerr 2\nerr 3\n"


def test_exec_with_streams(node: Node, world: World):
    world.weftd.client.containers.run(["sleep", "60"], name="web")
    seen = node("""
        const wish = { Cmd: ['sh', '-c', 'tr a-z A-Z; echo done >&2; exit 3'], Env: ['LC_ALL=C'] }
        const streams = { AttachStdin: true, AttachStdout: true, AttachStderr: true }
        const exec = await docker.getContainer('web').exec({ ...wish, ...streams })
        const stream = await exec.start({ hijack: true, stdin: true })
        const said = demultiplexed(stream)
        stream.write('hello\\n')
        stream.end()
        return [...await said, (await exec.inspect()).ExitCode]
    """)
    assert seen == ["HELLO\n", "done\n", 3]


def test_exec_on_a_terminal(node: Node, world: World):
    world.weftd.client.containers.run(["sleep", "60"], name="web")
    seen = node("""
        const wish = { Cmd: ['sh', '-c', 'read line; stty size; exit 4'], Tty: true }
        const exec = await docker.getContainer('web').exec({ ...wish, AttachStdin: true, AttachStdout: true })
        const stream = await exec.start({ hijack: true, stdin: true, Tty: true })
        const said = read(stream)
        await exec.resize({ h: 44, w: 77 })
        stream.write('go\\n')
        return [await said, (await exec.inspect()).ExitCode]
    """)
    assert seen == ["go\r\n44 77\r\n", 4]


def test_exec_without_a_client(node: Node, world: World):
    world.weftd.client.containers.run(["sleep", "60"], name="web")
    seen = node("""
        const exec = await docker.getContainer('web').exec({ Cmd: ['false'] })
        await read(await exec.start({ Detach: true }))
        let state
        do { state = await exec.inspect() } while (state.Running)
        return state.ExitCode
    """)
    assert seen == 1


def test_attach(node: Node, world: World):
    world.weftd.client.containers.run(["sh", "-c", "read line; echo got $line"], name="cat", open_stdin=True)
    seen = node("""
        const cat = docker.getContainer('cat')
        const stream = await cat.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true })
        const said = demultiplexed(stream)
        stream.write('hello\\n')
        return said
    """)
    assert seen == ["got hello\n", ""]


def test_events_as_they_happen(node: Node):
    seen = node("""
        const stream = await docker.getEvents({ filters: { type: ['network'], event: ['create', 'destroy'] } })
        const heard = []
        const both = new Promise(resolve => stream.on('data', data => {
            heard.push(...String(data).trim().split('\\n').map(line => JSON.parse(line)))
            if (heard.length === 2) resolve()
        }))
        const red = await docker.createNetwork({ Name: 'red' })
        await red.remove()
        await both
        stream.destroy()
        return heard.map(event => [event.Type, event.Action, event.Actor.Attributes.name])
    """)
    assert seen == [["network", "create", "red"], ["network", "destroy", "red"]]


def test_refusals(node: Node):
    seen = node("""
        return [
            await refusal(docker.getContainer('nobody').inspect()),
            await refusal(docker.getNetwork('nowhere').connect({ Container: 'nobody' })),
            await refusal(docker.createNetwork({ Name: 'host' })),
            await refusal(docker.createContainer({ Image: 'busybox' })),
        ]
    """)
    assert [status for status, _ in seen] == [404, 404, 403, 501]
    assert seen[0][1] == "No such container: nobody"
