package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/test/freeport"
)

// composed is deploy/compose.yaml, brought up under a name of its own.
type composed struct {
	t       testing.TB
	dir     string // as a release is unpacked
	project string
	image   string
	env     []string
	ports   map[string]string // of the nodes, and of the tally
}

// compose builds the image and brings everything up, with the one command that the file names.
func compose(t *testing.T) *composed {
	t.Helper()
	needDocker(t)
	t.Parallel()
	c := &composed{t: t, dir: t.TempDir(), project: fmt.Sprintf("sctest%d", os.Getpid()), ports: map[string]string{}}
	c.image = c.project + ":test"
	build := exec.Command("go", "build", "-o", filepath.Join(c.dir, "scomconnector"), "scomconnector/cmd/scomconnector")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if err := os.CopyFS(filepath.Join(c.dir, "deploy"), os.DirFS("../deploy")); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "IMAGE="+c.image, "COMPOSE_PROJECT_NAME="+c.project)
	for _, name := range []string{"primary", "secondary", "witness", "tally"} {
		c.ports[name] = freeport.Take(t)
		_, port, _ := strings.Cut(c.ports[name], ":")
		c.env = append(c.env, strings.ToUpper(name)+"_PORT="+port)
	}
	t.Cleanup(c.down)
	c.run("docker-compose", "-f", "deploy/compose.yaml", "up", "--build", "-d")
	return c
}

// down removes the containers, networks, volumes and the image that the test has made, and nothing else.
func (c *composed) down() {
	if c.t.Failed() {
		c.t.Log(c.say("docker-compose", "-f", "deploy/compose.yaml", "logs", "--tail=40"))
	}
	c.say("docker-compose", "-f", "deploy/compose.yaml", "down", "--volumes", "--timeout", "1")
	if id := strings.TrimSpace(c.say("docker", "images", "-q", c.image)); id != "" {
		c.say("docker", "rmi", "-f", id)
	}
	for _, left := range []string{"ps -aq", "network ls -q", "volume ls -q"} {
		args := append(strings.Fields(left), "--filter", "label=com.docker.compose.project="+c.project)
		if out := strings.TrimSpace(c.say("docker", args...)); out != "" {
			c.t.Errorf("docker %s: left behind: %s", left, out)
		}
	}
}

func (c *composed) say(name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", out, err)
	}
	return string(out)
}

func (c *composed) run(name string, args ...string) string {
	c.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// id of a service's container.
func (c *composed) id(service string) string {
	c.t.Helper()
	return c.run("docker-compose", "-f", "deploy/compose.yaml", "ps", "-q", service)
}

func (c *composed) get(service, path string) (int, []byte) {
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get("http://" + c.ports[service] + path)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, body
}

func (c *composed) awaitLeader(service string) {
	c.t.Helper()
	await(c.t, service+" leads", 90*time.Second, func() bool { code, _ := c.get(service, "/leader"); return code == http.StatusOK })
}

// awaitWhole waits until all nodes are voters in contact, as one sees it.
func (c *composed) awaitWhole(by string) {
	c.t.Helper()
	await(c.t, "all nodes have a vote", 90*time.Second, func() bool {
		_, body := c.get(by, "/api/v1/members")
		var m struct {
			Members []struct {
				Voter bool
				Fault string
			}
		}
		if json.Unmarshal(body, &m) != nil || len(m.Members) != 3 {
			return false
		}
		for _, one := range m.Members {
			if !one.Voter || one.Fault != "" {
				return false
			}
		}
		return true
	})
}

// tallied is what the simulators say.
type tallied struct {
	Events, Duplicates int
	Missing            []string
}

// awaitArrived waits until alerts flow on, and everything that SCOM shows is at the LAM.
func (c *composed) awaitArrived(more int) (now tallied) {
	c.t.Helper()
	first := -1
	await(c.t, "alerts flow and none is missing", 90*time.Second, func() bool {
		_, body := c.get("tally", "/")
		if json.Unmarshal(body, &now) != nil {
			return false
		}
		if first < 0 {
			first = now.Events
		}
		return len(now.Missing) == 0 && now.Events >= first+more
	})
	return now
}

// The compose file comes up with one command; a container is killed, another is cut off its network: alerts flow on by
// the node that is left, and none is missing in the end.
func TestContainersFailOver(t *testing.T) {
	c := compose(t)
	c.awaitLeader("primary")
	c.awaitWhole("primary")
	c.awaitArrived(3)
	await(t, "Docker finds the containers healthy", 90*time.Second, func() bool {
		return strings.Count(c.say("docker", "inspect", "--format", "{{.State.Health.Status}}", c.id("primary"), c.id("secondary"), c.id("witness")), "healthy\n") == 3
	})

	primary := c.id("primary")
	c.run("docker", "kill", primary)
	c.awaitLeader("secondary")
	c.awaitArrived(3)
	c.run("docker", "start", primary)
	c.awaitWhole("secondary")

	// The leader is cut off in silence: no connection is closed, packets only end.
	secondary, network := c.id("secondary"), c.project+"_site"
	c.run("docker", "network", "disconnect", network, secondary)
	c.awaitLeader("primary")
	c.awaitArrived(3)
	c.run("docker", "network", "connect", "--alias", "secondary", network, secondary)
	c.awaitWhole("primary")
	now := c.awaitArrived(3)
	t.Logf("%d events, %d of them twice, none missing", now.Events, now.Duplicates)
	// A node that is killed, and one that is cut off, each may repeat one batch; the flow is 40 a minute.
	if now.Duplicates > 40 {
		t.Errorf("%d events came twice", now.Duplicates)
	}
}
