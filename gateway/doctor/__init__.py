"""What `gateway doctor` looks at: a deployment from outside, as its subscribers and publishers meet it.

Rule: it judges by what it sees (times, headers, what arrives), never by what is said to be set; each finding names
what mends it. It publishes only events of its own (`doctor.probe`, gone after a minute), to its own user or topic
where the token allows one.
"""
