// Shows its client errors and addresses: one line is one command. An ordinary program has no steps and no timeouts of its own,
// so that its host's are what it keeps to.
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command, rest, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "addresses":
			say(name("REMOTE") + " " + name("LOCAL"))
		case "timeout":
			if err := os.Stdin.SetReadDeadline(time.Now()); err != nil {
				say(err.Error())
			}
		case "fail":
			log.Fatal(rest)
		case "trap":
			panic("told to")
		case "shutdown":
			os.Stdout.Close()
			say("too late")
		case "print":
			fmt.Fprintln(os.Stderr, rest)
			say("printed")
		default:
			say(lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func say(text string) {
	if _, err := fmt.Println(text); err != nil {
		log.Fatal(err)
	}
}

// name is this end's address, by the variables that UCSPI has for it.
func name(end string) string {
	if os.Getenv("PROTO") == "UNIX" {
		if path, named := os.LookupEnv("UNIX" + end + "PATH"); named {
			return path
		}
		return "unnamed"
	}
	ip, port := os.Getenv("TCP"+end+"IP"), os.Getenv("TCP"+end+"PORT")
	if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	return ip + ":" + port
}
